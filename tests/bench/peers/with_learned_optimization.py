"""The meta-step in google/learned_optimization: its ``LearnedOptimizer``, ``TaskFamily`` and ``TruncatedGrad``.

It is on no index: the first argument is a folder that holds a checkout of it.  Of TensorFlow it needs no more, for
what is done here, than that it can be imported; where it is missing, a mock stands in its place.  Coordinates are rows:
with coordinates last, the quadratics take as long and the network half as long again.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, NamedTuple
from unittest.mock import MagicMock

# Before anything stands in for TensorFlow: these look for it.
import flax.jax_utils
import flax.training.checkpoints
import flax.training.prefetch_iterator  # noqa: F401
import haiku  # noqa: F401
import jax
import jax.numpy as jnp
import numpy as np

from tests.bench.peers.problem import Array, Problem
from tests.bench.peers.protocol import serve
from tests.bench.peers.with_jax import features, losses, plain_rule, stay_on_one_core

sys.path.insert(0, sys.argv[1])
for missing in ("tensorflow", "tensorflow_datasets"):
    if importlib.util.find_spec(missing) is None:
        sys.modules[missing] = MagicMock()
        sys.modules[f"{missing}.compat"] = sys.modules[f"{missing}.compat.v2"] = MagicMock()

from learned_optimization.learned_optimizers.base import LearnedOptimizer  # noqa: E402
from learned_optimization.optimizers import optax_opts  # noqa: E402
from learned_optimization.optimizers.base import Optimizer  # noqa: E402
from learned_optimization.outer_trainers import gradient_learner  # noqa: E402
from learned_optimization.outer_trainers.lopt_truncated_step import VectorizedLOptTruncatedStep  # noqa: E402
from learned_optimization.outer_trainers.truncated_grad import TruncatedGrad  # noqa: E402
from learned_optimization.outer_trainers.truncation_schedule import ConstantTruncationSchedule  # noqa: E402
from learned_optimization.tasks.base import Task, TaskFamily  # noqa: E402

Tree = Any
"""Arrays in lists and tuples."""


class State(NamedTuple):
    """θ of one task, the rule's h and c, and the steps so far."""

    params: list[jax.Array]
    states: Tree
    iteration: jax.Array


class Steps(Optimizer):
    """The rule with its weights φ, as an optimizer of one task."""

    def __init__(self, problem: Problem, phi: list[jax.Array]) -> None:
        self.problem, self.phi = problem, phi

    def init(self, params: Tree, model_state: Tree = None, num_steps: Any = None, key: Any = None) -> State:
        """Start from zero states."""
        del model_state, num_steps, key
        zero = jnp.zeros((sum(value.size for value in params), self.problem.hidden))
        return State(params, [(zero, zero)] * self.problem.layers, jnp.zeros((), jnp.int32))

    def get_params(self, state: State) -> list[jax.Array]:
        """Return θ."""
        return state.params

    def get_state(self, state: State) -> None:
        """Return what a model has besides θ: nothing."""
        del state

    def update(self, opt_state: State, grad: Tree, **others: Any) -> State:
        """Move θ, the gradient taken as a constant."""
        del others
        flat = jnp.concatenate([value.ravel() for value in jax.lax.stop_gradient(grad)])
        moves, states = plain_rule(self.phi, features(flat, self.problem.log_scale), opt_state.states)
        pieces = jnp.split(self.problem.output_scale * moves, np.cumsum([value.size for value in grad])[:-1])
        pairs = zip(opt_state.params, pieces, strict=True)
        params = [value + piece.reshape(value.shape) for value, piece in pairs]
        return State(params, states, opt_state.iteration + 1)


class Rule(LearnedOptimizer):
    """The rule without its weights."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def init(self, key: Any) -> list[jax.Array]:
        """Return φ."""
        del key
        return [jnp.asarray(value) for value in self.problem.phi]

    def opt_fn(self, theta: list[jax.Array], is_training: bool = False) -> Steps:
        """Return the rule with weights."""
        del is_training
        return Steps(self.problem, theta)


class Fit(Task):
    """One of the functions; its data hold all that tells it from others."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def init(self, key: Any) -> list[jax.Array]:
        """Return θ of the right shapes."""
        del key
        return [jnp.zeros(value.shape[1:]) for value in self.problem.theta]

    def loss(self, params: list[jax.Array], key: Any, data: Tree) -> jax.Array:
        """Return the loss on inputs (N, ...) and targets (N,)."""
        del key
        inputs, targets = data
        return losses([value[None] for value in params], inputs[None], targets[None])[0]


class Fits(TaskFamily):
    """All functions of a problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def sample(self, key: Any) -> jax.Array:
        """Return nothing that matters."""
        del key
        return jnp.zeros(())

    def task_fn(self, cfg: Any) -> Fit:
        """Return a function."""
        del cfg
        return Fit(self.problem)


class LearnedOptimization:
    """Their estimator of the meta-gradient and their Adam, jitted as their ``GradientLearner`` does."""

    def __init__(self, problem: Problem) -> None:
        learned, episodes = Rule(problem), len(problem.theta[0])
        step = VectorizedLOptTruncatedStep(Fits(problem), learned, ConstantTruncationSchedule(10**6), episodes)
        estimator = TruncatedGrad(step, unroll_length=problem.steps, steps_per_jit=problem.steps)
        self.key = jax.random.PRNGKey(0)
        outer = optax_opts.Adam(problem.lr)
        self.state = outer.init(learned.init(self.key))
        start = estimator.init_worker_state(weights(outer.get_params(self.state)), self.key)
        theta = [jnp.asarray(value) for value in problem.theta]
        start = start.replace(inner_opt_state=start.inner_opt_state._replace(params=theta))
        self.data = start, [(jnp.asarray(problem.inputs), jnp.asarray(problem.targets))]

        def gradient(state: Tree, key: Any, data: Tree) -> tuple[jax.Array, Tree]:
            found, _ = estimator.compute_gradient_estimate(
                weights(outer.get_params(state)), key, data[0], with_summary=False, datas_list=data[1]
            )
            return found.mean_loss, found.grad

        def adam(state: Tree, key: Any, data: Tree) -> Tree:
            loss, found = gradient(state, key, data)
            return outer.update(state, found, loss)

        self._gradient, self._step = jax.jit(gradient), jax.jit(adam)

    def gradient(self) -> tuple[float, list[Array]]:
        """Return the meta-loss and its gradient."""
        loss, found = self._gradient(self.state, self.key, self.data)
        return float(loss), [np.asarray(value) for value in found]

    def meta_step(self) -> None:
        """Move φ once."""
        self.state = jax.block_until_ready(self._step(self.state, self.key, self.data))


def weights(phi: list[jax.Array]) -> gradient_learner.WorkerWeights:
    """Return φ as workers are sent it."""
    outer = gradient_learner.OuterState(outer_iteration=jnp.zeros((), jnp.int32))
    return gradient_learner.WorkerWeights(theta=phi, theta_model_state=None, outer_state=outer)


if __name__ == "__main__":
    stay_on_one_core()
    serve(LearnedOptimization)
