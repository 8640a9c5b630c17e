"""The layout of the answers of several steps and episodes as sequences of tokens, examples before queries.

The shapes depend on the numbers of examples, so the layout is computed on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

TOGETHER = 1 << 14
"""Rough number of tokens that are computed side by side; more are computed in turn, to stay in the cache."""


class TokenLayout(NamedTuple):
    """F sequences of L tokens: the examples of a prefix of an episode, then the queries that are answered from it.

    Attributes:
        steps: Indices step · E + episode of the steps that are answered, (Q,).
        rows: Episode of each sequence, (F,).
        known: Mask of the examples of each sequence, (F, n) for n examples at most.
        places: Sequence of each query, and its place in the sequence, (Q · N,) both.
        sees: Number of examples, from the first on, that each token attends to, (F, L).
    """

    steps: Tensor
    rows: Tensor
    known: Tensor
    places: tuple[Tensor, Tensor]
    sees: Tensor


def layouts(used: Tensor, known: Tensor, count: int, causal: bool) -> Iterator[TokenLayout]:
    """Lay out the answers to ``count`` queries at each step, about ``TOGETHER`` tokens at a time.

    Args:
        used: Number of examples that each step is answered from, (T, E); negative where it is not answered.
        known: Number of all examples of each episode, (E,).
        count: Number N of queries of a step.
        causal: Whether an example sees only those before it, so that one sequence serves all steps of an episode.
    """
    episodes = len(known)
    # A causal sequence has all examples of an episode, of which a query sees those before it; any other has a prefix.
    sizes = (known.expand_as(used) if causal else used).flatten()
    asked = (used >= 0).flatten().nonzero().squeeze(1)
    # Sorted by size, so that sequences that are computed side by side have about the same length.
    key = sizes[asked] * episodes + asked % episodes
    order = key.argsort(stable=True)
    asked, used = asked[order], used.flatten()[asked[order]]
    sequences, counts = torch.unique_consecutive(key[order], return_counts=True)
    tokens = (sequences // episodes + count * counts).cumsum(0)
    together = torch.unique_consecutive((tokens - 1) // TOGETHER, return_counts=True)[1].tolist()
    done = 0
    for part, steps in zip(sequences.split(together), counts.split(together), strict=True):
        queries = slice(done, done := done + int(steps.sum()))
        rows, sizes = part % episodes, part // episodes
        places, sees = _places(sizes, count * steps, used[queries].repeat_interleave(count), causal)
        known = torch.arange(int(sizes.max()), device="cpu") < sizes.unsqueeze(1)
        yield TokenLayout(asked[queries], rows, known, places, sees)


def _places(sizes: Tensor, counts: Tensor, used: Tensor, causal: bool) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return the sequence and place of each query, (Q,) both, and how many examples each token sees, (F, L).

    Args:
        sizes: Number of examples of each sequence, (F,).
        counts: Number of queries of each, (F,).
        used: Number of examples that each query sees, (Q,).
        causal: Whether an example sees only those before it.
    """
    sequence = torch.arange(len(sizes), device="cpu").repeat_interleave(counts)
    rank = torch.arange(len(used), device="cpu") - (counts.cumsum(0) - counts)[sequence]
    index = sequence, sizes[sequence] + rank
    place = torch.arange(int((sizes + counts).max()), device="cpu")
    sees = sizes.unsqueeze(1).expand(-1, len(place))
    if causal:
        sees = torch.minimum(place + 1, sees).index_put(index, used)
    return index, sees
