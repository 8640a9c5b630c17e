"""A transformer that is fitted to a task's prior and predicts from the examples of an episode in its context.

Source: Müller, Hollmann, Pineda Arango, Grabocka and Hutter 2022, §3, "Transformers can do Bayesian inference"
(arXiv 2112.10510): after training on data sets drawn from a prior, the answer to a query, given the data set's
examples, approximates the posterior predictive distribution.
Names: θ → ``parameters()``; the training part D of a data set → ``ExamplesInContext``.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from l2l_cli.core.random import generator, uniform
from l2l_cli.core.tree import tree_map
from l2l_cli.core.types import Batch, Batches
from l2l_cli.learners.base import Learner
from l2l_cli.learners.token_layout import TokenLayout, layouts
from l2l_cli.tasks.base import Classification, Task

LARGEST = 4096
"""Largest number of examples in an episode, since attention compares each of them with every other."""

TOKEN_SECONDS = 6e-11
"""Seconds that a token takes for each meta-parameter."""


Prefixes = Literal["hidden", "each", "causal"]
"""Way to answer each step from the examples before it; see ``PriorFitted``."""


class ExamplesInContext(NamedTuple):
    """The examples whose targets were shown, inputs (E, n, D) and targets (E, n, K); ``known`` (E,) counts them.

    Room for all examples of the task's horizon is allocated at the start, and more when it is needed.
    """

    inputs: Tensor
    targets: Tensor
    known: Tensor


class AttentionBlock(nn.Module):
    """Attention to the first tokens, then a two-layer network on each token; both pre-normalised and residual.

    Args:
        width: Number of features of a token.
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
        """Map tokens (F, L, width), which attend to the first M of them where the mask (F, L, M) allows it."""
        normal = self.norms[0](tokens)
        pairs = self.pair(normal[:, : mask.shape[2]]).chunk(2, -1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(normal), *pairs)
        )
        found = scaled_dot_product_attention(query, key, value, mask.unsqueeze(1))
        tokens = tokens + self.attended(found.transpose(1, 2).flatten(2))
        moved: Tensor = tokens + self.layers(self.norms[1](tokens))
        return moved


class PriorFitted(Learner[ExamplesInContext]):
    """A prior-fitted network: a transformer whose context is the examples that were shown.

    Queries attend only to examples and to a start token, never to each other.

    Deviation: in the paper all examples attend to each other, so each prefix of an episode takes its own pass.  That is
    ``prefixes`` "hidden" and "each" here.  "causal" is Garg et al. 2022 (arXiv 2208.01066): an example attends only to
    those before it, so one pass answers every step, but the order of examples matters.

    Args:
        task: Task with at most ``LARGEST`` examples in an episode.
        width: Number of features of a token.
        layers: Number of attention blocks.
        heads: Attention heads of each block.
        prefixes: Way to answer each step from the examples before it: "causal" in one pass; "each" with a pass for each
            step; "hidden" with a pass only for each step with hidden targets, while all other answers are ½, or 0 if
            not squashed.  None is "hidden" if the task hides targets, and otherwise "causal".
        squash: Whether answers are squashed into (0, 1), where the targets must then lie.
        initial_seed: Seed of the initial weights.

    Raises:
        ValueError: A size is out of range; the task has too many examples, or takes logits and ``squash`` is true, or
            hides no targets and ``prefixes`` is "hidden".
    """

    def __init__(
        self,
        task: Task,
        width: int = 64,
        layers: int = 4,
        heads: int = 4,
        prefixes: Prefixes | None = None,
        squash: bool = True,
        initial_seed: int = 0,
    ) -> None:
        super().__init__(task)
        if min(width, layers, heads) < 1 or width % heads:
            raise ValueError(
                f"width, layers and heads must be at least 1 and width a multiple of heads, not {width}, {layers} and "
                f"{heads}"
            )
        _check(task, prefixes, squash)
        self.prefixes, self.squash = prefixes, squash
        self.inputs, self.targets = math.prod(task.spec.inputs), math.prod(task.spec.targets)
        self.embedding = nn.Linear(self.inputs + self.targets + 1, width)
        self.start = nn.Parameter(torch.empty(width))
        self.blocks = nn.ModuleList([AttentionBlock(width, heads) for _ in range(layers)])
        self.readout = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, self.targets))
        self._reset(initial_seed)

    def _reset(self, seed: int) -> None:
        rng, last = generator(seed, "prior_fitted"), (2 * len(self.blocks)) ** -0.5
        with torch.no_grad():
            for name, value in self.named_parameters():
                if value.dim() == 2:
                    # The output of a block starts so small that the sum over all blocks is of the size of a token.
                    adds = name.endswith(("attended.weight", "layers.2.weight"))
                    bound = value.shape[1] ** -0.5 * (last if adds else 1.0)
                    value.copy_(uniform(tuple(value.shape), -bound, bound, rng))
                elif name.endswith("bias"):
                    value.zero_()
            self.start.copy_(uniform(tuple(self.start.shape), -1.0, 1.0, rng))

    @property
    def way(self) -> Prefixes:
        """The way to answer each step of the current task."""
        return self.prefixes or ("hidden" if self.task.spec.hides else "causal")

    def step_seconds(self, episodes: int) -> float:
        """Return roughly how many seconds a step takes on one core, for E episodes side by side."""
        tokens = {"hidden": 1.0, "causal": 2.0, "each": self.task.horizon / 2}[self.way]
        weights = sum(value.numel() for value in self.parameters())
        return episodes * self.task.spec.examples * tokens * TOKEN_SECONDS * weights

    def init(self, episodes: int, rng: Generator) -> ExamplesInContext:
        """Start without examples."""
        del rng
        room = self.task.horizon * self.task.spec.examples
        zero = self.start.new_zeros(episodes, room, self.inputs)
        known = torch.zeros(episodes, dtype=torch.int64, device=zero.device)
        return ExamplesInContext(zero, zero.new_zeros(episodes, room, self.targets), known)

    def step(self, state: ExamplesInContext, batch: Batch) -> tuple[ExamplesInContext, Tensor]:
        """Answer, then append the examples of the episodes that show theirs."""
        shown = None if batch.shown is None else batch.shown[None]
        state, answers = self.unroll(state, Batches(batch.inputs[None], batch.targets[None], shown))
        return state, answers[0]

    def predict(self, state: ExamplesInContext, inputs: Tensor) -> Tensor:
        """Answer from all examples, (E, N, ...)."""
        known = state.known.cpu()
        return self._answers(state, known[None], known, _flat(inputs[None]))[0]

    def unroll(self, state: ExamplesInContext, batches: Batches) -> tuple[ExamplesInContext, Tensor]:
        """Append all examples of the window, and answer each step from those before it."""
        steps, episodes, count = batches.inputs.shape[:3]
        shown = batches.inputs.new_ones(steps, episodes) if batches.shown is None else batches.shown
        # The layout depends on numbers of examples, so it is computed on the CPU.
        mask, known = (shown > 0).cpu(), state.known.cpu()
        before = known + count * (mask.cumsum(0) - mask.long())
        known = known + count * mask.sum(0)
        after = _appended(state, batches, mask, before, known)
        used = torch.where(mask, -1, before) if self.way == "hidden" else before
        return after, self._answers(after, used, known, _flat(batches.inputs))

    def _answers(self, state: ExamplesInContext, used: Tensor, known: Tensor, inputs: Tensor) -> Tensor:
        """Answer inputs (T, E, N, D) from the first ``used`` (T, E) of ``known`` (E,) examples, (T, E, N, ...).

        Where ``used`` is negative, nothing is computed, and the answer before squashing is 0.
        """
        # Connected to φ, so that a window in which nothing is answered has a gradient of zero.
        answers = 0.0 * self.start.sum().expand(*inputs.shape[:3], self.targets).flatten(0, 1)
        steps, found = [], []
        for layout in layouts(used, known, inputs.shape[2], self.way == "causal"):
            layout = tree_map(lambda part: part.to(inputs.device), layout)
            steps.append(layout.steps)
            found.append(self._read(state, layout, inputs.flatten(0, 1)[layout.steps]))
        if found:
            answers = answers.index_put((torch.cat(steps),), torch.cat(found))
        answers = answers.reshape(*inputs.shape[:3], *self.task.spec.targets)
        return torch.sigmoid(answers) if self.squash else answers

    def _read(self, state: ExamplesInContext, layout: TokenLayout, queries: Tensor) -> Tensor:
        """Return the network's answers to queries (Q, N, D), (Q, N, K)."""
        (sequences, length), most = layout.sees.shape, layout.known.shape[1]
        flag = layout.known.unsqueeze(2).to(queries)
        shown = state.inputs[layout.rows, :most], state.targets[layout.rows, :most], torch.ones_like(flag)
        tokens = pad(flag * torch.cat(shown, 2), (0, 0, 0, length - most))
        tokens = tokens.index_put(layout.places, pad(queries.flatten(0, 1), (0, self.targets + 1)))
        # The start token comes first and attends only to itself.
        tokens = torch.cat([self.start.expand(sequences, 1, -1), self.embedding(tokens)], 1)
        mask = torch.arange(most + 1, device=queries.device) <= pad(layout.sees, (1, 0)).unsqueeze(2)
        for block in self.blocks:
            tokens = block(tokens, mask)
        sequence, place = layout.places
        answers: Tensor = self.readout(tokens[sequence, place + 1])
        return answers.view(*queries.shape[:2], -1)


def _check(task: Task, prefixes: Prefixes | None, squash: bool) -> None:
    name, examples = type(task).__name__, task.horizon * task.spec.examples
    if examples > LARGEST:
        raise ValueError(
            f"learner prior_fitted compares all examples of an episode with each other, at most {LARGEST}, but {name} "
            f"has {examples}; give it fewer, for example by a shorter horizon"
        )
    if prefixes not in (None, *get_args(Prefixes)):
        raise ValueError(f"prefixes must be null, {', '.join(get_args(Prefixes))}, not {prefixes!r}")
    if prefixes == "hidden" and not task.spec.hides:
        raise ValueError(f"{name} hides no targets, so prefixes=hidden would answer nothing; use causal or each")
    if squash and isinstance(task, Classification):
        raise ValueError(f"{name} takes logits, which do not lie in (0, 1); use learner.squash=false")


def _flat(values: Tensor) -> Tensor:
    """Return inputs or targets (T, E, N, ...) with the numbers of an example along one axis."""
    return values.reshape(*values.shape[:3], math.prod(values.shape[3:]))


def _appended(
    state: ExamplesInContext, batches: Batches, mask: Tensor, before: Tensor, known: Tensor
) -> ExamplesInContext:
    """Return the context with the examples that a window shows appended to it.

    Args:
        state: Context before the window.
        batches: Window of T steps.
        mask: Mask of the targets that are shown, (T, E).
        before: Number of examples before each step, (T, E).
        known: Number of examples after the window, (E,).
    """
    step, row = mask.nonzero(as_tuple=True)
    place = before[step, row].unsqueeze(1) + torch.arange(batches.inputs.shape[2], device="cpu")
    missing = max(0, int(known.max()) - state.inputs.shape[1])
    step, row, place = (part.to(state.inputs.device) for part in (step, row.unsqueeze(1), place))
    inputs, targets = (
        pad(old, (0, 0, 0, missing)).index_put((row, place), _flat(new)[step, row.squeeze(1)].to(old))
        for old, new in ((state.inputs, batches.inputs), (state.targets, batches.targets))
    )
    return ExamplesInContext(inputs, targets, known.to(state.known.device))
