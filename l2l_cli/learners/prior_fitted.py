"""A transformer that has been fitted to a task's prior, and predicts from the examples of an episode in its context.

Source: Müller, Hollmann, Pineda Arango, Grabocka and Hutter 2022, §3, "Transformers can do Bayesian inference"
(arXiv 2112.10510): trained on data sets that are drawn from a prior, its answer for a query, given the data set's
examples, tends to the posterior predictive distribution.
Names: θ → ``parameters()``; the training part D of a data set → ``Context``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from l2l_cli.core.random import generator, uniform
from l2l_cli.core.types import Batch, Batches
from l2l_cli.kernels.paths import EVERY_PATH, Paths
from l2l_cli.learners.base import Learner
from l2l_cli.tasks.base import Classification, Task

LARGEST = 4096
"""Examples of an episode at most: each is compared with every other."""

TOGETHER = 1 << 14
"""Tokens that are computed side by side, at most; more are computed in turn, so that they stay in the cache."""

TOKEN_SECONDS = 6e-11
"""Seconds that a token takes for each meta-parameter."""


class Context(NamedTuple):
    """The examples whose targets were shown, inputs (E, n, D) and targets (E, n, K); ``known`` (E,) counts them.

    There is room for all examples of the task's horizon from the first step on, and for more when they come.
    """

    inputs: Tensor
    targets: Tensor
    known: Tensor


class Questions(NamedTuple):
    """F sequences to be laid out: their episodes, their numbers of examples and of steps to be answered, (F,) each.

    If they are ``causal``, an example sees those before it alone.
    """

    rows: Tensor
    sizes: Tensor
    counts: Tensor
    causal: bool


class Sequences(NamedTuple):
    """F sequences of L tokens, the examples of each before its queries.

    Attributes:
        tokens: What is known of each token: its input, its target and a flag, which are 0 for queries, (F, L, D+K+1).
        mask: Tokens that each attends to, (F, 1 + L, 1 + n), with the start as the first of both.
        queries: Sequence and place of the queries, (Q,) each.
    """

    tokens: Tensor
    mask: Tensor
    queries: tuple[Tensor, Tensor]


class Block(nn.Module):
    """Attention to the first tokens, then two layers for each token by itself; normalised first, residual.

    Args:
        width: Numbers that a token is made of.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.query = nn.Linear(width, width, bias=False)
        self.pair = nn.Linear(width, 2 * width, bias=False)
        self.attended = nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return tokens (F, L, width), of which the first M may be attended to as the mask (F, L, M) says."""
        normal = self.norms[0](tokens)
        pairs = self.pair(normal[:, : mask.shape[2]]).chunk(2, -1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(normal), *pairs)
        )
        found = scaled_dot_product_attention(query, key, value, mask.unsqueeze(1))
        tokens = tokens + self.attended(found.transpose(1, 2).flatten(2))
        return tokens + self.layers(self.norms[1](tokens))


class PriorFitted(Learner[Context]):
    """A prior-fitted network: a transformer whose context is the examples that were shown.

    Queries attend to examples and to a token of the start alone, never to each other.

    Deviation: in the paper all examples attend to each other, as they do here unless ``causal``, and so each prefix of
    an episode takes a pass of its own.  Where every target is shown, an example attends to those before it alone, as
    in Garg et al. 2022 (arXiv 2208.01066), and one pass answers every step, but not alike for every order.

    Args:
        task: Task with at most ``LARGEST`` examples in an episode.
        width: Numbers that a token is made of.
        layers: Blocks of attention.
        heads: Attention heads of each.
        causal: Whether an example attends to those before it alone; None is only where the task hides no targets.
        every: Whether steps with shown targets are answered from their prefix, where ``causal`` is not and the task
            hides targets.  They take most of the time then.  If not, the answer there is one and the same number, as
            before any example.
        squash: Whether answers are squashed into (0, 1), where the targets then must lie.
        initial_seed: Seed of the initial weights.
        paths: Paths that the learner may take.

    Raises:
        ValueError: A size is out of range, or the task has too many examples or takes logits.
    """

    def __init__(
        self,
        task: Task,
        width: int = 64,
        layers: int = 4,
        heads: int = 4,
        causal: bool | None = None,
        every: bool = False,
        squash: bool = True,
        initial_seed: int = 0,
        *,
        paths: Paths = EVERY_PATH,
    ) -> None:
        super().__init__(task, paths=paths)
        if min(width, layers, heads) < 1 or width % heads:
            raise ValueError(
                f"width, layers and heads must be at least 1 and width a multiple of heads, not {width}, {layers} and "
                f"{heads}"
            )
        _check(task, squash)
        self.causal = not task.spec.hides if causal is None else causal
        self.every = every or not task.spec.hides
        self.squash = squash
        self.inputs, self.targets = math.prod(task.spec.inputs), math.prod(task.spec.targets)
        self.embedding = nn.Linear(self.inputs + self.targets + 1, width)
        self.start = nn.Parameter(torch.empty(width))
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.readout = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, self.targets))
        self._reset(initial_seed)

    def _reset(self, seed: int) -> None:
        rng, last = generator(seed, "prior_fitted"), (2 * len(self.blocks)) ** -0.5
        with torch.no_grad():
            for name, value in self.named_parameters():
                if value.dim() == 2:
                    # What a block adds begins so small that the sum over all blocks is of the size of a token.
                    bound = value.shape[1] ** -0.5 * (last if name.endswith(("attended.weight", "layers.2.weight")) else 1)
                    value.copy_(uniform(tuple(value.shape), -bound, bound, rng))
                elif name.endswith("bias"):
                    value.zero_()
            self.start.copy_(uniform(tuple(self.start.shape), -1.0, 1.0, rng))

    def step_seconds(self, episodes: int) -> float:
        """Return about how long a step takes on one core, E episodes side by side."""
        tokens = episodes * self.task.spec.examples * (2 if self.causal else 1)
        return tokens * TOKEN_SECONDS * sum(value.numel() for value in self.parameters())

    def init(self, episodes: int, rng: Generator) -> Context:
        """Start without examples."""
        del rng
        room = self.task.horizon * self.task.spec.examples
        zero = self.start.new_zeros(episodes, room, self.inputs)
        known = torch.zeros(episodes, dtype=torch.int64, device=zero.device)
        return Context(zero, zero.new_zeros(episodes, room, self.targets), known)

    def step(self, state: Context, batch: Batch) -> tuple[Context, Tensor]:
        """Answer, then append the examples of the episodes that show theirs."""
        shown = None if batch.shown is None else batch.shown[None]
        state, answers = self.unroll(state, Batches(batch.inputs[None], batch.targets[None], shown))
        return state, answers[0]

    def predict(self, state: Context, inputs: Tensor) -> Tensor:
        """Answer from all examples, (E, N, ...)."""
        return self._answers(state, state.known[None], inputs.flatten(2)[None])[0]

    def unroll(self, state: Context, batches: Batches) -> tuple[Context, Tensor]:
        """Append all examples of the window, and answer each step from those before it."""
        steps, episodes, count = batches.inputs.shape[:3]
        shown = batches.inputs.new_ones(steps, episodes) if batches.shown is None else batches.shown
        mask = shown > 0
        after = _appended(state, batches, mask)
        used = state.known + count * (mask.cumsum(0) - mask.long())
        if not self.causal and not self.every:
            used = torch.where(mask, -1, used)
        return after, self._answers(after, used, batches.inputs.flatten(3))

    def _answers(self, state: Context, used: Tensor, inputs: Tensor) -> Tensor:
        """Answer inputs (T, E, N, D) from the first ``used`` (T, E) examples of their episode, (T, E, N, ...).

        Where that is negative the answer is the start's.
        """
        answers = self.readout(self.start).expand(*inputs.shape[:3], -1).flatten(0, 1)
        asked, parts = self._questions(state, used)
        if len(asked):
            seen, queries = used.flatten()[asked], inputs.flatten(0, 1)[asked]
            found, done = [], 0
            for questions in parts:
                part = slice(done, done := done + int(questions.counts.sum()))
                found.append(self._read(_sequences(state, questions, queries[part], seen[part])))
            answers = answers.index_put((asked,), torch.cat(found).unflatten(0, queries.shape[:2]))
        answers = answers.reshape(*inputs.shape[:3], *self.task.spec.targets)
        return torch.sigmoid(answers) if self.squash else answers

    def _questions(self, state: Context, used: Tensor) -> tuple[Tensor, list[Questions]]:
        """Return which of the steps (T · E) are to be answered, in the order of the questions, and these in parts."""
        steps, episodes = used.shape
        # A causal sequence has all examples of an episode, and each query sees what came before; others are a prefix.
        size = (state.known.expand(steps, -1) if self.causal else used).flatten()
        asked = (used >= 0).flatten().nonzero().squeeze(1)
        key = size[asked] * episodes + asked % episodes
        # Sorted by size, so that sequences that are computed side by side have about the same length.
        order = key.argsort(stable=True)
        sequences, counts = key[order].unique_consecutive(return_counts=True)
        sizes, rows = sequences // episodes, sequences % episodes
        tokens = sizes + counts * self.task.spec.examples
        _, together = ((tokens.cumsum(0) - 1) // TOGETHER).unique_consecutive(return_counts=True)
        parts = zip(*(values.split(together.tolist()) for values in (rows, sizes, counts)), strict=True)
        return asked[order], [Questions(*part, self.causal) for part in parts]

    def _read(self, sequences: Sequences) -> Tensor:
        """Return what the network answers to the queries of some sequences, (Q, K)."""
        tokens = self.embedding(sequences.tokens)
        tokens = torch.cat([self.start.expand(len(tokens), 1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens, sequences.mask)
        return self.readout(tokens[sequences.queries])


def _check(task: Task, squash: bool) -> None:
    name, examples = type(task).__name__, task.horizon * task.spec.examples
    if examples > LARGEST:
        raise ValueError(
            f"learner prior_fitted compares all examples of an episode with each other, at most {LARGEST}, and {name} "
            f"has {examples}; give it fewer, as by a shorter horizon"
        )
    if squash and isinstance(task, Classification):
        raise ValueError(f"{name} takes logits, which are not in (0, 1); use learner.squash=false")


def _appended(state: Context, batches: Batches, mask: Tensor) -> Context:
    """Return a context with the examples that a window shows, where the mask (T, E) is, at each episode's end."""
    count = batches.inputs.shape[2]
    step, row = mask.nonzero(as_tuple=True)
    after = state.known + count * mask.sum(0)
    before = (state.known + count * (mask.cumsum(0) - mask.long()))[step, row]
    index = row.unsqueeze(1), before.unsqueeze(1) + torch.arange(count, device=before.device)
    missing = max(0, int(after.max()) - state.inputs.shape[1])
    inputs, targets = (
        torch.cat([old, old.new_zeros(len(old), missing, old.shape[2])], 1).index_put(index, new[step, row].to(old))
        for old, new in ((state.inputs, batches.inputs.flatten(3)), (state.targets, batches.targets.flatten(3)))
    )
    return Context(inputs, targets, after)


def _sequences(state: Context, questions: Questions, queries: Tensor, seen: Tensor) -> Sequences:
    """Lay out sequences for queries (Q, N, D), of which each step sees as many examples as ``seen``, (Q,)."""
    rows, sizes, counts, causal = questions
    device, count = queries.device, queries.shape[1]
    counts = counts * count
    total, examples = len(queries) * count, int(sizes.max())
    place = torch.arange(int((sizes + counts).max()), device=device)
    which = torch.arange(len(rows), device=device).repeat_interleave(counts, output_size=total)
    rank = torch.arange(total, device=device) - (counts.cumsum(0) - counts)[which]
    index = which, sizes[which] + rank
    known = (place[:examples] < sizes.unsqueeze(1)).unsqueeze(2)
    features, targets = state.inputs.shape[2], state.targets.shape[2]
    tokens = queries.new_zeros(len(rows), len(place), features + targets + 1)
    tokens[:, :examples] = known * torch.cat(
        [state.inputs[rows, :examples], state.targets[rows, :examples], torch.ones_like(known).to(tokens)
         .expand(len(rows), examples, 1)], 2)
    tokens[index] = torch.cat([queries.flatten(0, 1), queries.new_zeros(total, targets + 1)], 1)
    sees = sizes.unsqueeze(1).expand(-1, len(place))
    if causal:
        sees = torch.minimum(place + 1, sees)
        sees = sees.index_put(index, seen.repeat_interleave(count))
    # The start is the first token of every sequence, and sees itself.
    sees = torch.cat([torch.zeros_like(sees[:, :1]), sees], 1)
    mask = torch.arange(examples + 1, device=device) <= sees.unsqueeze(2)
    return Sequences(tokens, mask, (index[0], index[1] + 1))
