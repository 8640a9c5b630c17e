"""What a request to stop leaves of a run, wherever it comes: within an update, in a validation, twice."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from l2l_cli.config.compose import compose
from l2l_cli.core.stop import STOP
from l2l_cli.meta import training as validating
from l2l_cli.meta.gradient_training import MetaTraining
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.training import train

SMALL = (
    "task=quadratic task.dimension=2 task.horizon=6 learner.rule.hidden=3 gradient.episodes=2 gradient.window=3 "
    "meta.updates=8 meta.validate_every=2 meta.validation_episodes=4 meta.checkpoint_every=1e-9"
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def quiet(*_):
    pass


def trained(root):
    return train(compose("meta-train", [*SMALL.split(), f"output={root}"]), relay=quiet)


def files(run):
    return [(run.path / name).read_bytes() for name in ("metrics.csv", "weights.safetensors")]


def interrupted(root, owner, name, function):
    """Train with another function in the place of one, which brings a request to stop; return the run's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, function)
        with pytest.raises(KeyboardInterrupt), STOP.listening():
            trained(root)
    (folder,) = Path(root, "meta-train").iterdir()
    return folder


def test_within_an_update_it_waits_for_the_end_and_loses_nothing():
    whole, update, made = trained("whole"), MetaTraining.update, []

    def stopping(self):
        if self.number == 4:
            signal.raise_signal(signal.SIGTERM)
        made.append(self.number)
        return update(self)

    interrupted("parts", MetaTraining, "update", stopping)
    assert made == [0, 1, 2, 3, 4]
    assert files(trained("parts")) == files(whole)


def test_what_a_killed_run_has_cost_up_to_its_checkpoint_is_counted():
    class Killed(BaseException):
        """Nothing is written after it."""

    update = MetaTraining.update

    def dying(self, *args, **facts):
        if facts or args or self.number == 4:
            raise Killed
        return update(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetaTraining, "update", dying)
        patch.setattr(RunFolder, "end", lambda self, *args, **facts: dying(self, *args, **facts))
        with pytest.raises(Killed):
            trained("parts")
    (folder,) = Path("parts", "meta-train").iterdir()
    before = RunFolder.load(folder).facts()
    assert before["status"] == "running"
    assert before["cpu_seconds"]["training"] > 0
    after = trained("parts").facts()
    assert after["cpu_seconds"]["training"] > before["cpu_seconds"]["training"]
    assert after["began"] == before["began"]


@pytest.mark.parametrize("call", [1, 2, 4])
def test_in_a_validation_it_takes_effect_at_once_and_loses_nothing(call):
    whole, score, seen = trained("whole"), validating.score, []

    def stopping(*args, **options):
        seen.append("begun")
        if len(seen) == call:
            signal.raise_signal(signal.SIGTERM)
            seen.append("went on")
        return score(*args, **options)

    folder = interrupted("parts", validating, "score", stopping)
    assert seen == ["begun"] * call
    facts = json.loads((folder / "run.json").read_text())
    assert (facts["status"], facts["updates"]) == ("interrupted", 2 * call)
    assert (folder / "checkpoint.safetensors").exists()
    assert files(trained("parts")) == files(whole)


def test_a_second_one_within_an_update_leaves_the_last_good_checkpoint_alone():
    whole, update, kept = trained("whole"), MetaTraining.update, []

    def stopping(self):
        if self.number == 5:
            kept.extend(file.read_bytes() for file in Path("parts/meta-train").glob("*/checkpoint.safetensors"))
            self._average.add_(1.0)  # half-made
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
        return update(self)

    folder = interrupted("parts", MetaTraining, "update", stopping)
    assert [(folder / "checkpoint.safetensors").read_bytes()] == kept
    assert files(trained("parts")) == files(whole)
