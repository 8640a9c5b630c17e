"""Products with the Gauss-Newton matrix of a network, as solvers take them by the dozen: ours and curvlinops'."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from l2l_cli.config.hardware import Hardware
from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Phase
from l2l_cli.models.mlp import mlp
from l2l_cli.models.model import glorot
from l2l_cli.models.point import Point
from l2l_cli.runs.building import prepare
from tests.bench.curved import EXAMPLES, Pictures
from tests.bench.meta_step import check_agreement, timed
from tests.bench.peers.client import Peer, PeerError
from tests.bench.peers.problem import Array, Product
from tests.bench.peers.protocol import cpu_seconds
from tests.bench.samples import Case

BENCH = "Gauss-Newton product"
INPUTS, CLASSES = 784, 10
HIDDEN = (20, 400)
"""Units of the two networks: 15 910 and 318 010 weights."""

ANOTHER, FIRST, OTHER = "ours, another at a point", "ours, the first at a point", "curvlinops"
PEER = "tests.bench.peers.with_curvlinops"


class Ours:
    """The product as the project's solvers take it, the network's linearization kept or made anew."""

    def __init__(self, hidden: int, keep: bool) -> None:
        rng = generator(0, "products")
        self.task = Pictures(mlp(INPUTS, [hidden], CLASSES, "sigmoid"), glorot, (INPUTS,), in_turn=False)
        self.params = self.task.model.init(1, rng)
        self.v = {name: normal(tuple(value.shape), rng) for name, value in self.params.items()}
        self.batch, self.keep = self.task.sample(1, 0, Phase.TUNE).batch(0), keep
        self.point = self._point()

    def _point(self) -> Point:
        return Point(self.task.model, self.task.loss, self.params, self.batch, curvature=self.task.curvature)

    @torch.no_grad()
    def gradient(self) -> tuple[float, list[Array]]:
        """Return ½·vᵀ·G·v and its gradient G·v."""
        found = self.point.ggn(self.v)
        half = 0.5 * sum(float((self.v[name] * value).sum()) for name, value in found.items())
        return half, [value[0].numpy() for value in found.values()]

    @torch.no_grad()
    def meta_step(self) -> None:
        """Take one product."""
        (self.point if self.keep else self._point()).ggn(self.v)

    def product(self) -> Product:
        """Return the same for contenders elsewhere."""
        theta, v = ([value[0].numpy() for value in values.values()] for values in (self.params, self.v))
        return Product(theta, v, self.batch.inputs[0].numpy(), self.batch.targets[0].argmax(-1).numpy())


def cases(budget: float) -> list[Case]:
    """Return a case for each network, once the products have been compared.

    Raises:
        Disagreement: Names the contender and the difference.
    """
    prepare(Hardware())
    return [_case(hidden, budget) for hidden in HIDDEN]


def _case(hidden: int, budget: float) -> Case:
    ours = {ANOTHER: Ours(hidden, keep=True), FIRST: Ours(hidden, keep=False)}
    product = ours[ANOTHER].product()
    name = f"{product.size:,} weights, batch {EXAMPLES}"
    seconds: dict[str, Callable[[int], float]] = {key: partial(cpu_seconds, value) for key, value in ours.items()}
    case = Case(BENCH, name, {}, notes={ANOTHER: "to agree with", FIRST: "with the forward pass"})
    try:
        peer = Peer(PEER)
        peer.load(name.split()[0], product)
        _, found = peer.gradient(name.split()[0])
    except PeerError as error:
        case.absent[OTHER] = str(error)
    else:
        case.notes[OTHER] = check_agreement(name, OTHER, found, ours[ANOTHER].gradient()[1])
        seconds[OTHER] = partial(peer.seconds, name.split()[0])
    case.contenders |= {key: timed(measure, budget) for key, measure in seconds.items()}
    return case
