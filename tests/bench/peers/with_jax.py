"""The meta-step in JAX: a compiled ``scan`` over the steps, whose body is computed again in the backward pass."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.bench.peers.problem import Array, Problem
from tests.bench.peers.protocol import serve

Tree = Any
"""Arrays in lists and tuples."""


def features(flat: jax.Array, p: float) -> jax.Array:
    """Return what the rule sees of a gradient (C,): (F, C)."""
    if not p:
        return flat[None]
    size = jnp.abs(flat)
    large = size >= np.exp(-p)
    magnitude = jnp.where(large, jnp.log(jnp.maximum(size, np.finfo(np.float32).tiny)) / p, -1.0)
    return jnp.stack([magnitude, jnp.where(large, jnp.sign(flat), np.exp(p) * flat)])


def sigmoid(x: jax.Array) -> jax.Array:
    """Return σ(x); XLA's tanh is faster on a CPU than its logistic function."""
    return 0.5 + 0.5 * jnp.tanh(0.5 * x)


def rule(phi: list[jax.Array], below: jax.Array, states: Tree) -> tuple[jax.Array, Tree]:
    """Return displacements (C,), unscaled, and the next h and c of each layer, (H, C).

    Coordinates come last and each layer makes one product: of the arrangements tried, the fastest in XLA.
    """
    after = []
    for layer, (hidden, cell) in enumerate(states):
        into, own, bias = phi[3 * layer : 3 * layer + 3]
        gates = jnp.concatenate([into, own], 1) @ jnp.concatenate([below, hidden]) + bias[:, None]
        i, f, g, o = jnp.split(gates, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * jnp.tanh(g)
        below = sigmoid(o) * jnp.tanh(cell)
        after.append((below, cell))
    return (phi[-2] @ below)[0] + phi[-1], after


def plain_rule(phi: list[jax.Array], below: jax.Array, states: Tree) -> tuple[jax.Array, Tree]:
    """Return the same as most would write it: coordinates are rows, (C, H), two products a layer."""
    below, after = below.T, []
    for layer, (hidden, cell) in enumerate(states):
        into, own, bias = phi[3 * layer : 3 * layer + 3]
        i, f, g, o = jnp.split(below @ into.T + hidden @ own.T + bias, 4, 1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        below = jax.nn.sigmoid(o) * jnp.tanh(cell)
        after.append((below, cell))
    return (below @ phi[-2].T)[:, 0] + phi[-1], after


def losses(theta: list[jax.Array], inputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Return the loss of each episode, (E,)."""
    if len(theta) == 1:
        return jnp.mean((jnp.einsum("eij,ej->ei", inputs, theta[0]) - targets) ** 2, 1)
    hidden = sigmoid(jnp.einsum("eni,ehi->enh", inputs, theta[0]) + theta[1][:, None])
    outputs = jnp.einsum("enh,eoh->eno", hidden, theta[2]) + theta[3][:, None]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), targets[..., None], 2)
    return -jnp.mean(chosen, (1, 2))


class Jax:
    """The jitted meta-gradient and meta-step of one problem."""

    def __init__(self, problem: Problem, plain: bool = False) -> None:
        self.rule = plain_rule if plain else rule
        self.problem = problem
        self.phi = [jnp.asarray(value) for value in problem.phi]
        self.memory = ([jnp.zeros_like(v) for v in self.phi], [jnp.zeros_like(v) for v in self.phi], jnp.zeros(()))
        self.data = jax.tree.map(jnp.asarray, (problem.theta, problem.inputs, problem.targets))
        self._gradient = jax.jit(jax.value_and_grad(self.meta_loss))
        self._step = jax.jit(self.adam)

    def meta_loss(self, phi: list[jax.Array], data: Tree) -> jax.Array:
        """Return the mean of the losses over steps and episodes."""
        theta, inputs, targets = data
        size = self.problem.hidden, self.problem.coordinates
        zero = jnp.zeros(size[::-1] if self.rule is plain_rule else size)
        states = [(zero, zero)] * self.problem.layers

        @jax.checkpoint
        def body(carry: Tree, batch: Tree) -> tuple[Tree, jax.Array]:
            theta, states = carry
            loss = losses(theta, *batch)
            gradient = jax.grad(lambda at: losses(at, *batch).sum())(jax.lax.stop_gradient(theta))
            flat = jnp.concatenate([value.ravel() for value in gradient])
            moves, states = self.rule(phi, features(flat, self.problem.log_scale), states)
            pieces = jnp.split(self.problem.output_scale * moves, np.cumsum([v.size for v in theta])[:-1])
            theta = [value + piece.reshape(value.shape) for value, piece in zip(theta, pieces, strict=True)]
            return (theta, states), loss

        _, found = jax.lax.scan(body, (theta, states), (inputs, targets))
        return jnp.mean(found)

    def adam(self, phi: list[jax.Array], memory: Tree, data: Tree) -> tuple[Tree, Tree]:
        """Return φ and Adam's memory after one meta-step (Kingma and Ba 2015, algorithm 1)."""
        gradient = jax.grad(self.meta_loss)(phi, data)
        first, second, count = memory
        count = count + 1
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradient, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradient, strict=True)]
        rate, correction = self.problem.lr / (1 - 0.9**count), 1 - 0.999**count
        moves = [m / (jnp.sqrt(v / correction) + 1e-8) for m, v in zip(first, second, strict=True)]
        return [value - rate * move for value, move in zip(phi, moves, strict=True)], (first, second, count)

    def gradient(self) -> tuple[float, list[Array]]:
        """Return the meta-loss and its gradient."""
        loss, gradient = self._gradient(self.phi, self.data)
        return float(loss), [np.asarray(value) for value in gradient]

    def meta_step(self) -> None:
        """Move φ once."""
        self.phi, self.memory = jax.block_until_ready(self._step(self.phi, self.memory, self.data))


def stay_on_one_core() -> None:
    """Make XLA's thread pool one thread: when it starts, it counts the cores that it may use."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


if __name__ == "__main__":
    stay_on_one_core()
    serve(partial(Jax, plain="plain" in sys.argv))
