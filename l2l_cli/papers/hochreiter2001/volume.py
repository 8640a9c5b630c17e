"""§2.2's theory, measured: does a network that learns to learn conserve the volume of its state space?

A step maps the state s_l to s_{l+1}.  Information about every example is retained equally only if that map neither
shrinks nor stretches: log|det ∂s_{l+1}/∂s_l| should be 0 on average.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.base import Learner
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.papers.base import Artefact, Findings, Subject
from l2l_cli.papers.hochreiter2001.judges import mse_of
from l2l_cli.papers.measured import Measured
from l2l_cli.papers.panels import legend
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.metrics import Metric
from l2l_cli.results.plot import COLOURS, LIMIT, decorate, panels
from l2l_cli.runs.building import build_learner

SEQUENCES = 16
"""Number of sequences that log|det| is averaged over."""

SMALLEST = -30.0
"""log|det| per unit at which a map counts as singular."""

BEFORE, AFTER = "before", "after"
"""Variants: the network as it was drawn, and as meta-training left it."""


def volume_rows(subject: Subject) -> Iterator[Metric]:
    """Yield log|det ∂s_{l+1}/∂s_l| per unit of state along sequences, before and after meta-training."""
    before, after = (build_learner(subject.settings, subject.task) for _ in range(2))
    after.load_state_dict(subject.learner.state_dict())
    for variant, learner in ((BEFORE, before), (AFTER, after)):
        if isinstance(learner, LSTM1997):  # the cut belongs to the learning rule, not to the map
            learner = learner.untruncated()
        for part, cells in (("", False), ("cells", True)):
            values = log_volume(learner, derive(subject.seed, "volume"), cells)
            row = Metric(subject.name, subject.seed, "log_volume", 0.0, statistic="mean", variant=variant, part=part)
            for step, value in enumerate([] if values is None else values.mean(1).tolist(), start=2):
                yield row._replace(value=value, step=step)


def log_volume(learner: Learner[Any], seed: int, cells: bool = False, steps: int = 64) -> Tensor | None:
    """Return log|det ∂s_{l+1}/∂s_l| per unit for l = 1 … T − 1, (T − 1, E).

    Args:
        learner: Network with a state of activations (..., E, units), of which the last target is no part.
        seed: Seed of the sequences.
        cells: Whether the map is that between the states of memory cells alone, all else held; the result is None for
            a network without any.
        steps: Number T of examples.
    """
    batches = learner.task.sample(SEQUENCES, seed, Phase.TEST).batches(0, steps)
    state = learner.init(SEQUENCES, generator(seed))
    names = [name for name in state._fields if name != "previous" and getattr(state, name).numel()]
    if cells:
        names = [name for name in names if name == "cell"]
    if not names:
        return None
    result = []
    for step in range(steps):
        parts = [getattr(state, name).detach().requires_grad_() for name in names]
        after, _ = learner.step(state._replace(**dict(zip(names, parts, strict=True))), batches.at(step))
        if step > 0:
            result.append(_log_det([getattr(after, name) for name in names], parts))
        state = type(after)(*(value.detach() for value in after))
    return torch.stack(result)


def _log_det(outputs: list[Tensor], inputs: list[Tensor]) -> Tensor:
    """Return log|det| per unit of the Jacobian of each sequence, (E,); sequences do not mix."""
    episodes = inputs[0].shape[-2]
    flat = torch.cat([value.movedim(-2, 0).reshape(episodes, -1) for value in outputs], 1)
    rows = []
    for unit in range(flat.shape[1]):
        grads = torch.autograd.grad(flat[:, unit].sum(), inputs, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([grad.movedim(-2, 0).reshape(episodes, -1) for grad in grads], 1))
    jacobian = torch.stack(rows, 1).double()
    size: Tensor = torch.linalg.slogdet(jacobian).logabsdet / flat.shape[1]
    return size.clamp(min=SMALLEST)


class Volume(Artefact):
    """log|det| along sequences for each network's best setting, and against the error for all settings."""

    def judge(self, measured: Measured) -> Findings:
        """Judge and draw all networks, a colour for each group of rows."""
        errors = {row: mse_of(measured, row) for row in measured.run}
        before, after, cells = (
            {row: measured.values(row, "log_volume", variant=variant, part=part) for row in errors}
            for variant, part in ((BEFORE, ""), (AFTER, ""), (AFTER, "cells"))
        )
        results = []
        for row, values in after.items():
            note = f"mean over a sequence; before meta-training {np.mean(before[row]):.3g}; the theory predicts 0"
            note += f"; of the cells alone {np.mean(cells[row]):.3g}" if cells[row] else ""
            results.append(measured.result(row, "log_det_per_unit", values, note=note, lower_is_better=None))
        best: dict[str, str] = {}
        for row in sorted(errors, key=lambda name: np.median(errors[name])):
            best.setdefault(measured.rows[row].group, row)
        figure, axes = panels(1, 2, height=3.2)
        for colour, (group, row) in zip(COLOURS, best.items(), strict=False):
            for variant, style in ((BEFORE, {"linestyle": ":"}), (AFTER, {"label": row})):
                curve = measured.curve(row, "log_volume", variant=variant, part="").mean(axis=1)
                axes[0].plot(curve.index, curve, color=colour, **style)  # type: ignore[arg-type]
            members = [row for row in errors if measured.rows[row].group == group]
            axes[1].scatter(_joined(after, members), _joined(errors, members), s=16, color=colour, alpha=0.7)
        axes[0].axhline(0.0, color=LIMIT, linewidth=0.8)
        decorate(axes[0], "Along a sequence (dotted: before)", "example", "log|det| per unit of state")
        decorate(axes[1], "Against success", "log|det| per unit, after", "test MSEt", "y")
        legend(figure, axes, columns=3)
        caption = (
            "log|det ∂s/∂s| per unit of state.  Left: each network's best setting, mean over seeds.  Right: every seed "
            "of every setting after meta-training against its test MSEt."
        )
        title, drawn = "Beyond the paper: is volume conserved?", measured.save(figure, caption)
        claim = _claim(*(_joined(values, errors) for values in (before, after, errors)))
        return Findings(results, [Section(title, figures=[drawn], claims=[claim])])


def _joined(values: Mapping[str, list[float]], rows: Iterable[str]) -> list[float]:
    """Return the values of all seeds of some rows."""
    return [value for row in rows for value in values[row]]


def _claim(before: list[float], after: list[float], errors: list[float]) -> Claim:
    """Judge whether the networks that conserve volume, by log|det| before and after, are those that learn."""
    text = "§2.2, networks learn to learn as far as they conserve volume"
    if len(errors) < 3:
        return Claim(text, None)
    early, late = (float(spearmanr(volumes, errors).statistic) for volumes in (before, after))
    evidence = (
        f"over {len(errors)} trained networks the rank correlation of log|det| with the test error is {late:+.2f}"
    )
    return Claim(text, late <= -0.5, f"{evidence}, and {early:+.2f} before meta-training (mark, ours: −0.5)")
