"""Scoring: windows do not show, and nothing is kept for a backward pass."""

from __future__ import annotations

import torch

from l2l_cli.core.types import Phase
from l2l_cli.evaluation import score as rollout
from l2l_cli.evaluation.score import score
from l2l_cli.learners.descent import Descent
from l2l_cli.optimizers.coordinatewise_lstm import CoordinatewiseLSTM
from l2l_cli.tasks.halfplanes import Halfplanes
from tests.image_tasks import digits_mlp


def test_scores_keep_no_graph():
    found = score(Descent(digits_mlp(hidden=[2], examples=5), CoordinatewiseLSTM(hidden=2)), 2, 3, 0, Phase.TEST)
    assert not found.losses.requires_grad


def test_the_length_of_windows_does_not_show(monkeypatch):
    for task in (digits_mlp(hidden=[2], examples=5, start=0.3), Halfplanes(hidden=[3], samples=7, share=[0.4, 0.6])):
        learner = Descent(task, CoordinatewiseLSTM(hidden=2))
        whole = score(learner, 2, 7, 0, Phase.TEST)
        monkeypatch.setattr(rollout, "WINDOW", 3)
        parts = score(learner, 2, 7, 0, Phase.TEST)
        monkeypatch.undo()
        torch.testing.assert_close(parts.losses, whole.losses)
        assert (parts.shown is not None) == task.spec.hides
