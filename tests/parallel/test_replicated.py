from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from l2l_cli.core.errors import RunFailed, UsageError
from l2l_cli.core.random import generator, normal
from l2l_cli.core.types import Phase
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.descent import Descent
from l2l_cli.meta.mlhf import StoppedBackprop
from l2l_cli.models.convnet import BatchNorm
from l2l_cli.models.model import Model, gaussian
from l2l_cli.models.point import Point
from l2l_cli.models.recorded_loss import RecordedLoss, in_turn
from l2l_cli.optimizers.adam import Adam
from l2l_cli.optimizers.conjugate_gradient import ConjugateGradient
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.hessian_free import HessianFree, LevenbergMarquardt
from l2l_cli.optimizers.kfac import KFac
from l2l_cli.optimizers.mlhf import MLHF
from l2l_cli.parallel.replicated import Replicated, mixes_examples
from l2l_cli.parallel.workers import Header
from l2l_cli.tasks.base import Task
from tests.cases import TASKS
from tests.test_cli import assert_refused, run

E = 2
EXACT = {"rtol": 0.0, "atol": 1e-12}
PAIRS: list[tuple[Task, Task]] = []


@pytest.fixture
def pair(double):
    """A task whose batches of 5 one process answers, and the same with two: their processes serve all tests here."""
    if not PAIRS or not PAIRS[0][1].model._workers._closing.alive:
        one, two = (TASKS["digits-cudaconvnet"]() for _ in range(2))
        two.model = Replicated(two.model, 2, two.spec.inputs)
        PAIRS[:] = [(one, two)]
    return PAIRS[0]


@pytest.fixture(scope="module", autouse=True)
def _ended():
    yield
    for _, two in PAIRS:
        two.model.close()
    PAIRS.clear()


def stand(task, second_order=False, shown=None):
    params = task.model.init(E, generator(0))
    batch = task.sample(E, 1, Phase.TUNE).batch(0)._replace(shown=shown)
    return Point(task.model, task.loss, params, batch, second_order, task.curvature)


def vectors(point, seed):
    return {name: normal(value.shape, generator(seed)) for name, value in point.params.items()}


def same(found, expected):
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("first", ["ggn", "grad", "loss"])
@pytest.mark.parametrize("shown", [None, torch.tensor([1.0, 0.0])], ids=["all", "hidden"])
def test_a_point_is_what_it_is_in_one_process(first, shown, pair):
    one, two = (stand(task, shown=shown) for task in pair)
    v, other = vectors(one, 1), vectors(one, 2)
    ask = {"ggn": lambda point: point.ggn(v), "grad": lambda point: point.grad, "loss": lambda point: point.loss}
    ask[first](two)
    for what in ("ggn", "grad", "loss"):
        same(ask[what](two), ask[what](one))
    same(two.outputs, one.outputs)
    with torch.no_grad():
        same(two.loss_at(other), one.loss_at(other))
    same(two.at(other).grad, one.at(other).grad)
    same(two.ggn(other), one.ggn(other))


def test_points_at_several_steps_stay_apart(pair):
    one, two = ([stand(task).at(vectors(stand(task), seed)) for seed in range(3)] for task in pair)
    v = vectors(one[0], 9)
    for point in two:
        point.ggn(v)
    del two[1], one[1]
    for found, expected in zip(two, one, strict=True):
        same(found.ggn(v), expected.ggn(v))


def test_meta_gradients_flow_through_the_vector_alone(pair):
    point = stand(pair[1])
    u, v = vectors(point, 1), {name: value.requires_grad_() for name, value in vectors(point, 2).items()}
    through = point.ggn(v)
    total = sum((through[name] * u[name]).sum() for name in u)
    found = torch.autograd.grad(total, [*v.values(), *point.params.values()], allow_unused=True)
    for value, expected in zip(found, point.ggn(u).values(), strict=False):
        same(value, expected)
    assert all(value is None for value in found[len(v) :])


@pytest.mark.parametrize("rule", [HessianFree(), LevenbergMarquardt(0.3, iterations=3), Adam(0.01)], ids=repr)
def test_optimizers_take_the_same_steps(rule, pair):
    ends = []
    for task in pair:
        learner = Descent(task, rule)
        batches = task.sample(E, 1, Phase.TUNE).batches(0, 5)
        with torch.no_grad():
            state, answers = learner.unroll(learner.init(E, generator(2)), batches)
            ends.append((answers, state.params, learner.predict(state, batches.inputs[0])))
    same(ends[1], ends[0])


def test_the_meta_gradient_of_a_learned_rule(pair):
    rule = CoordinatewiseLSTM(hidden=3)
    found = []
    for task in pair:
        learner = Descent(task, rule, paths=Paths(compiled=task is pair[1]))  # which has no kernels
        _, losses = learner.losses(learner.init(E, generator(2)), task.sample(E, 1, Phase.TUNE).batches(0, 3))
        found.append(torch.autograd.grad(losses.sum(), list(rule.parameters()), allow_unused=True))
    assert learner.path.why_not.startswith("hardware.replicas")
    same(found[1], found[0])


def test_mlhf_and_its_meta_training(pair):
    rule, gradient = MLHF(lr=0.5, iterations=3, base_damping=0.05), StoppedBackprop(window=3)
    found = []
    for task in pair:
        learner = Descent(task, rule)
        progress, estimate = gradient.estimate(learner, gradient.begin(learner, 1, 0, 0.0), 0.0)
        found.append((estimate.grad, estimate.loss, progress.state.state.params))
    assert all(value.any() for value in found[0][0].values())
    same(found[1], found[0])


def test_a_batch_that_cannot_be_divided_stays_whole(pair):
    one, two = pair
    params, inputs = one.model.init(E, generator(0)), one.sample(E, 1, Phase.TUNE).batch(0).inputs[:, :1]
    same(two.model(params, inputs), one.model(params, inputs))
    same(two.model.linearize(params, inputs).push(params), one.model.linearize(params, inputs).push(params))


def test_no_program_is_recorded_of_what_other_processes_do(pair):
    one = pair[0]
    for seed in range(2):
        params, batch = one.model.init(E, generator(seed)), one.sample(E, seed, Phase.TUNE).batch(0)
        layout = in_turn(params)
        example = layout.pack(params), batch.inputs, batch.targets
        losses = [RecordedLoss(task.model, task.loss) for task in pair]
        found, again, expected = (
            list(loss.gradient(layout, *example)(*example)) for loss in (losses[1], losses[1], losses[0])
        )
        same(found, expected)
        same(again, expected)


REFUSED = {
    "layers": lambda point: KFac(0.05).step(point, KFac(0.05).init(point.params)),
    "hessian": lambda point: ConjugateGradient().step(point, ConjugateGradient().init(point.params)),
    "second_order": lambda point: point.grad,
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_needs_one_process_is_refused(what, pair):
    with pytest.raises(UsageError, match=r"use\s+hardware\.replicas=1"):
        REFUSED[what](stand(pair[1], second_order=what == "second_order"))


@pytest.mark.parametrize("name", TASKS)
def test_models_that_mix_examples_are_found(name):
    task = TASKS[name]()
    normalised = any(isinstance(module, BatchNorm) for module in task.model.module.modules())
    assert mixes_examples(task.model, task.spec.inputs) == normalised
    if normalised:
        with pytest.raises(UsageError, match="batch normalisation"):
            Replicated(task.model, 2, task.spec.inputs)


def test_a_failure_elsewhere_is_told_and_ends_all(pair):
    model = pair[1].model
    linear, params = stand(pair[1]).linear, stand(pair[1]).params
    (worker,) = model._workers._workers
    worker.pipe.send(Header("push", -1, [], [], [], []))  # a linearization that never was
    with pytest.raises(RunFailed, match=r"process 1 of hardware\.replicas=2 failed: ") as told:
        linear.push(params)
    assert "Traceback" in told.value.__notes__[0]
    assert worker.is_gone
    with pytest.raises(RunFailed, match="have ended"):
        stand(pair[1]).ggn(params)


@pytest.mark.slow
def test_a_process_that_dies_is_missed(pair):
    point = stand(pair[1])
    assert point.loss.shape == (E,)
    os.kill(pair[1].model._workers._workers[0]._process.pid, signal.SIGKILL)
    with pytest.raises(RunFailed, match=r"process 1 of hardware\.replicas=2: its process was killed by SIGKILL"):
        point.ggn(point.params)


class Local(nn.Linear):
    def __reduce__(self):
        raise TypeError("cannot pickle this")


def test_a_model_that_cannot_be_sent_is_refused():
    model = Replicated(Model(Local(2, 1), gaussian(1.0)), 2, (2,))
    model._model._module.__deepcopy__ = lambda memo: model._model._module
    with pytest.raises(UsageError, match="cannot pickle this"):
        model(model.init(1, generator(0)), torch.zeros(1, 4, 2))


SMALL = "task=digits task.hidden=[3] task.examples=7 task.horizon=6"


@pytest.mark.slow
def test_a_comparison_is_the_same(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    tables = []
    for replicas in (1, 2):
        command = f"compare hessian_free {SMALL} tune.budget=2 tune.episodes=1 evaluation.episodes=2"
        code, _, err = run(f"{command} output=out{replicas} hardware.replicas={replicas}", monkeypatch, capsys)
        assert code == 0, err
        (folder,) = Path(f"out{replicas}").glob("compare/*")
        assert json.loads((folder / "run.json").read_text())["replicas"] == replicas
        tables.append(pd.read_csv(folder / "metrics.csv"))
    assert len(tables[0]) > 0
    pd.testing.assert_frame_equal(*tables, rtol=1e-4, atol=1e-6)


MISTAKES = {
    "compare hessian_free task=digits hardware.replicas=0": "hardware.replicas must be at least 1",
    "compare hessian_free task=cifar10_resnet task.dataset=digits hardware.replicas=2": "as batch normalisation does",
    "compare hessian_free task=digits task.examples=2 hardware.replicas=3": "this task's have 2 examples",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_mistakes_are_told_before_anything_is_written(arguments, monkeypatch, capsys, tmp_path):
    assert_refused(arguments, MISTAKES[arguments], monkeypatch, capsys, tmp_path)


LONELY = """
import time, torch
from torch import nn
from l2l_cli.models.model import Model, gaussian
from l2l_cli.core.random import generator
from l2l_cli.parallel.replicated import Replicated

if __name__ == "__main__":
    model = Replicated(Model(nn.Linear(2, 1), gaussian(1.0)), 2, (2,))
    model(model.init(1, generator(0)), torch.zeros(1, 4, 2))
    print(model._workers._workers[0]._process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for a process in /proc")
def test_processes_end_with_a_program_that_is_killed(tmp_path):
    script = tmp_path / "lonely.py"
    script.write_text(LONELY)
    program = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    other = Path("/proc") / program.stdout.readline().strip()
    assert other.is_dir()
    program.kill()
    program.wait()
    program.stdout.close()
    began = time.monotonic()
    while other.is_dir() and "Z" not in (other / "stat").read_text().split()[2]:
        assert time.monotonic() - began < 20
        time.sleep(0.05)
