"""Memory is estimated before any of it is taken."""

from __future__ import annotations

import pytest

from l2l_cli.config.build import build
from l2l_cli.config.compose import compose
from l2l_cli.core.errors import UsageError
from l2l_cli.runs import memory
from l2l_cli.runs.building import build_learner, build_task
from l2l_cli.runs.making import training_of

SMALL = ("task=quadratic", "gradient.episodes=2048", "hardware.kernels=reference")


def estimate(*words):
    settings = compose("meta-train", words)
    learner = build_learner(settings, build_task(settings))
    return memory.estimated_bytes(settings, learner, build(settings.gradient, "gradient"))


def test_the_estimate_grows_with_episodes_steps_and_parameters():
    base = estimate(*SMALL)
    assert estimate(*SMALL, "gradient.episodes=4096") > 1.5 * base
    assert estimate(*SMALL, "gradient.window=40") > 1.5 * base
    assert estimate(*SMALL, "task.dimension=20") > 1.5 * base


@pytest.mark.parametrize(
    ("words", "measured"),
    [
        (SMALL, 1526),
        (("task=quadratic", "gradient.episodes=8192", "hardware.kernels=fast"), 1019),
        (("task=mnist_mlp", "vary.hidden=[[20]]", "gradient.episodes=3", "hardware.kernels=reference"), 2719),
        (("task=mnist_mlp", "vary.hidden=[[20]]", "gradient.episodes=16", "hardware.kernels=fast"), 2553),
        (("task=b16", "learner=lstm", "gradient.episodes=4096", "hardware.kernels=reference"), 2427),
        (("task=semilinear", "learner=online_least_squares", "gradient.episodes=2048"), 1101),
        (("task=semilinear", "learner=online_least_squares", "gradient.episodes=4"), 1012),
        (("task=halfplanes", "learner=weights_in_cell", "gradient.episodes=4096", "hardware.kernels=reference"), 4537),
    ],
)
def test_the_estimate_is_near_to_measured_peaks_and_never_far_above(words, measured):
    small = ("meta.validation_episodes=2", "data.dir=nowhere")
    assert 0.6 * measured < estimate(*words, *small) / 1e6 < 1.25 * measured


def test_a_training_that_takes_too_much_is_refused_with_what_would_fit(monkeypatch):
    monkeypatch.setattr(memory, "usable_memory", lambda: 300 * 10**6)
    settings = compose("meta-train", SMALL)
    with pytest.raises(
        UsageError, match=r"takes about .* at gradient.episodes=2048 .* gradient.episodes=512 would fit"
    ):
        training_of(settings)
    training_of(compose("meta-train", [*SMALL, "gradient.episodes=512"]))


def test_a_validation_that_takes_too_much_is_refused_with_what_would_fit(monkeypatch):
    monkeypatch.setattr(memory, "usable_memory", lambda: 60 * 10**6)
    settings = compose("meta-train", ["task=mnist_mlp", "gradient.episodes=1", "gradient.window=1"])
    with pytest.raises(UsageError, match=r"meta.validation_episodes=\d+ would fit"):
        training_of(settings)


def test_where_nothing_fits_the_message_says_so(monkeypatch):
    monkeypatch.setattr(memory, "usable_memory", lambda: 10**6)
    with pytest.raises(UsageError, match="not even one episode fits"):
        training_of(compose("meta-train", ["task=mnist_mlp"]))


def test_where_free_memory_is_unknown_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "usable_memory", lambda: None)
    training_of(compose("meta-train", ["task=quadratic"]))


def test_scoring_that_takes_too_much_is_refused_before_a_folder_is_made(monkeypatch, tmp_path):
    from l2l_cli.commands import compare

    monkeypatch.setattr(memory, "usable_memory", lambda: 50 * 10**6)
    settings = compose(
        "compare", ["task=quadratic", "task.dimension=500", "evaluation.episodes=1024", f"output={tmp_path}"]
    )
    with pytest.raises(UsageError, match=r"1024 episodes side by side.*evaluation.chunk=\d+ would fit"):
        compare.run(settings, ["adam"], [], [])
    assert not list(tmp_path.iterdir())
