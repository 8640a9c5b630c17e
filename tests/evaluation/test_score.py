"""Scoring: windows do not show, and nothing is kept for a backward pass."""

from __future__ import annotations

import pytest
import torch

from l2l_cli.core.types import Phase
from l2l_cli.evaluation import score as rollout
from l2l_cli.evaluation.score import score, score_together
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.optimizers.sgd import Sgd
from l2l_cli.tasks.halfplanes import Halfplanes
from tests.image_tasks import digits_mlp


def test_scores_keep_no_graph():
    found = score(Descent(digits_mlp(hidden=[2], examples=5), CoordinatewiseLSTM(hidden=2)), 2, 3, 0, Phase.TEST)
    assert not found.losses.requires_grad


@pytest.mark.parametrize(("bound", "value"), [("WINDOW", 3), ("NUMBERS", 1)], ids=["by windows", "one by one"])
def test_how_batches_are_read_does_not_show(bound, value, monkeypatch):
    """Where not even two steps fit the memory for windows, the learner follows them one by one."""
    for task in (digits_mlp(hidden=[2], examples=5, start=0.3), Halfplanes(hidden=[3], samples=7, share=[0.4, 0.6])):
        learner = Descent(task, CoordinatewiseLSTM(hidden=2))
        whole = score(learner, 2, 7, 0, Phase.TEST)
        monkeypatch.setattr(rollout, bound, value)
        parts = score(learner, 2, 7, 0, Phase.TEST)
        monkeypatch.undo()
        assert torch.equal(parts.losses, whole.losses)
        assert parts.metrics.keys() == whole.metrics.keys()
        assert (parts.visible is not None) == (whole.visible is not None) == task.spec.hides


def test_learners_that_are_scored_together_score_as_alone():
    task, told = digits_mlp(hidden=[2], examples=5, start=0.3), []
    learners = [Descent(task, CoordinatewiseLSTM(hidden=2)), Descent(task, Sgd(0.1)), Descent(task, Sgd(1.0))]
    together = score_together(learners, 5, 4, 0, Phase.TUNE, chunk=2, tell=lambda share, note: told.append(share))
    for learner, found in zip(learners, together, strict=True):
        assert torch.equal(found.losses, score(learner, 5, 4, 0, Phase.TUNE, chunk=2).losses)
    assert sum(told) == pytest.approx(1.0)
