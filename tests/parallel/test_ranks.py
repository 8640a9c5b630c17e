"""One training over ranks is the training of one process, whatever estimates its gradient."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from l2l_cli.config.build import build, changed
from l2l_cli.core.episodes import part_of
from l2l_cli.core.errors import UsageError
from l2l_cli.core.random import generator
from l2l_cli.core.tree import flatten
from l2l_cli.core.types import Phase
from l2l_cli.kernels.paths import Paths
from l2l_cli.learners.division import axes_of
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.meta.plan import MetaPlan
from l2l_cli.meta.training import Validation
from l2l_cli.optimizers.adam import Adam
from l2l_cli.parallel.launched import Place
from l2l_cli.parallel.ranks import Ranks
from l2l_cli.tasks.divided import DividedEpisode
from tests.cases import LEARNED, LEARNERS, PAIRS, TASKS, is_refused, on_path
from tests.configured import LEARNER_SIZES, node_of
from tests.test_cli import assert_refused

ROOT = Path(__file__).resolve().parents[2]
EPISODES, UPDATES = 5, 5
SIZES = {"episodes": EPISODES, "pairs": 2, "window": 3}

TRAININGS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "backprop": ("digits", "coordinatewise_lstm", "backprop", {}),
    "backprop-shared-state": ("halfplanes", "weights_in_cell", "backprop", {}),
    "backprop-hidden": ("halfplanes", "lstm", "backprop", {"loss": {"_target_": "l2l_cli.meta.loss.HeldOut"}}),
    "backprop-types": ("digits-convnet", "coordinatewise_lstm_per_type", "backprop", {}),
    "replay": ("digits", "coordinatewise_lstm", "replay", {"replay": {"keep": 0.3, "capacity": 2, "fresh": 0.3}}),
    "replay-best": (
        "digits",
        "coordinatewise_lstm",
        "replay",
        {"replay": {"keep": 0.3, "fresh": 0.0, "store": "best"}},
    ),
    "es": ("digits", "coordinatewise_lstm", "es", {}),
    "pes": ("b14", "lstm", "pes", {}),
    "mlhf": ("digits", "mlhf", "mlhf", {"replay": {"keep": 0.3, "fresh": 0.5}}),
}
"""A task, a learner, an estimator and changes of it."""


def training_of(name: str, ranks: Ranks | None) -> MetaTraining:
    torch.set_default_dtype(torch.float64)
    task, learner, gradient, changes = TRAININGS[name]
    node = dict(node_of("gradient", gradient))
    node |= {key: size for key, size in SIZES.items() if key in node}
    for key, change in changes.items():
        node[key] = change if "_target_" in change else node[key] | change
    small = changed(node_of("learner", learner), LEARNER_SIZES.get(learner, {}), "learner")
    made = build(small, "learner", task=TASKS[task](), paths=Paths(compiled=False))
    plan = MetaPlan(updates=UPDATES, validate_every=2, validation_episodes=4, warmup=1)
    return MetaTraining(made, build(node, "gradient"), Adam(0.01), plan, 0, ranks)


def outcome(name: str, ranks: Ranks | None = None, saved: dict[str, torch.Tensor] | None = None, until: int = UPDATES):
    """Everything that a training has come to: its checkpoint, and its records."""
    training = training_of(name, ranks)
    if saved is not None:
        training.restore(saved)
    records = []
    for record in training.records():
        records.append(record)
        if training.number == until and (until < UPDATES or isinstance(record, Validation)):
            break
    return {key: value.clone() for key, value in training.checkpoint().items()}, records


class Follow:
    """The part that other ranks have in an ``outcome``."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __call__(self, ranks: Ranks) -> None:
        torch.set_num_threads(1)
        name, *rest = self.arguments
        outcome(name, ranks, *rest)


@pytest.fixture(scope="module")
def two():
    with Ranks(Place(0, 2, 0), local=True) as ranks:
        yield ranks


@pytest.fixture(scope="module")
def three():
    with Ranks(Place(0, 3, 0), local=True) as ranks:
        yield ranks


def divided(ranks: Ranks, *arguments: Any):
    ranks.begin(Follow(*arguments))
    name, *rest = arguments
    return outcome(name, ranks, *rest)


def same(found, expected):
    torch.testing.assert_close(found[0], expected[0], rtol=1e-9, atol=1e-12)
    for one, other in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(one[1:], other[1:], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("size", ["two", pytest.param("three", marks=pytest.mark.slow)])
def test_ranks_come_to_what_one_process_comes_to(name, size, request, double):
    alone = outcome(name)
    same(divided(request.getfixturevalue(size), name), alone)


@pytest.mark.slow
def test_a_training_goes_on_with_another_number_of_ranks(two, three, double):
    """1 → 2 → 3 ranks; "replay" has all that a state can have: slots, memory by parameter, shared counters."""
    alone = outcome("replay")
    saved, first = outcome("replay", until=1)
    saved, second = divided(two, "replay", saved, 3)
    end, third = divided(three, "replay", saved)
    same((end, first + second + third), alone)


def test_a_resumed_training_over_ranks_repeats_bit_for_bit(two, double):
    whole, _ = divided(two, "replay")
    saved, _ = divided(two, "replay", None, 3)
    again, _ = divided(two, "replay", saved)
    assert all(torch.equal(again[key], whole[key]) for key in whole)


def test_fewer_episodes_than_ranks_are_refused(double):
    with pytest.raises(UsageError, match=r"6 ranks .* gradient\.episodes=5; use as many"):
        training_of("backprop", Ranks(Place(0, 6, 0), local=True))


@pytest.mark.parametrize("learner", LEARNED)
def test_a_part_of_a_state_goes_its_way_alone(learner, double):
    """Splitting and joining is the identity, and a part that is unrolled by itself is the part of the whole."""
    for task in ("halfplanes", "digits-convnet", "b14", "semilinear"):
        if (task, learner) not in PAIRS or is_refused(task, learner):
            continue
        made = TASKS[task]()
        one = on_path(LEARNERS[learner](made), compiled=False)
        axes, episode = axes_of(one), made.sample(EPISODES, 7, Phase.META_TRAIN)
        with torch.no_grad():
            whole, answers = one.unroll(one.init(EPISODES, generator(0)), episode.batches(0, 4))
        spans = [slice(0, 2), slice(2, 3), slice(3, 5)]
        parts = [part_of(whole, axes, span) for span in spans]
        for name, value in flatten(whole).items():
            pieces = [flatten(piece)[name] for piece in parts]
            assert torch.equal(axes[name].join(pieces) if name in axes else pieces[0], value), name
        for span, piece in zip(spans, parts, strict=True):
            with torch.no_grad():
                begun = part_of(one.init(EPISODES, generator(0)), axes, span)
                after, own = one.unroll(begun, DividedEpisode(episode, span).batches(0, 4))
            torch.testing.assert_close(own, answers[:, span], rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(flatten(after), flatten(piece), rtol=1e-9, atol=1e-12)
        return
    raise AssertionError(f"{learner} refuses every task")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "l2l_cli", *words]


SMALL = [
    *("meta-train", "task=quadratic", "task.horizon=10", "gradient.episodes=4", "hardware.kernels=reference"),
    *("meta.validate_every=50", "meta.validation_episodes=4", "meta.checkpoint_every=0.2", "output=out"),
]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for a process in /proc")
def test_a_rank_that_is_killed_ends_the_run_in_one_line(tmp_path):
    program = subprocess.Popen(
        command(*SMALL, "meta.updates=100000", "hardware.world=2"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert program.stderr is not None
    while not list(tmp_path.glob("out/meta-train/*/checkpoint.safetensors")):
        assert program.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    (other,) = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(int(other), signal.SIGKILL)
    last = program.communicate()[1].strip().splitlines()[-1]
    assert program.returncode == 1
    assert last.startswith("error: rank 1 of 2 was killed by SIGKILL"), last
    (run,) = tmp_path.glob("out/meta-train/*/run.json")
    assert json.loads(run.read_text())["status"] == "failed"


REFUSED = {
    "compare adam": "compare is the work of one process",
    "reproduce bosc2016": "reproduce is the work of one process",
    "meta-train hardware.world=2": "hardware.world=2 asks for more",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_a_launcher_must_not_start_is_refused(words, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert_refused(words, REFUSED[words], monkeypatch, capsys, tmp_path)


MISTAKES = {
    "hardware.world=2 gradient.episodes=1": "gradient.episodes=1",
    "hardware.world=2 hardware.replicas=2": "use one of them",
    "hardware.world=2 learner.visited=0.5": "use learner.visited=null",
    "hardware.world=2 learner=lstm1997 task=b14 gradient=truncated1997 optimizer=sgd": "a rule of 1997",
    "hardware.world=0": "hardware.world must be at least 1",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_what_ranks_cannot_divide_is_refused_before_anything_is_written(words, monkeypatch, capsys, tmp_path):
    assert_refused(f"meta-train {words}", MISTAKES[words], monkeypatch, capsys, tmp_path)


@pytest.mark.slow
def test_a_trial_that_is_known_is_begun_by_no_rank(tmp_path):
    words = "task=quadratic task.dimension=2 task.horizon=6 gradient.episodes=4 meta.updates=4 meta.validate_every=2"
    search = "meta.validation_episodes=4 search.updates=2 hardware.world=2"
    results = []
    for trials in (2, 3):  # the second run finds two of its trials in the store
        command = [sys.executable, "-m", "l2l_cli", "meta-train", *words.split(), *search.split()]
        command += [f"search.trials={trials}", f"output={tmp_path}"]
        results.append(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    assert "best of 2 trials" in results[0]
    assert "best of 3 trials" in results[1]
