"""§2.2's theory, measured: does a network that learns to learn keep the volume of its state space?

A step maps the state s_l to s_{l+1}.  Information about every example is retained equally only if that map neither
shrinks nor stretches: log|det ∂s_{l+1}/∂s_l| should be 0 on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from l2l_cli.core.random import derive, generator
from l2l_cli.core.types import Phase
from l2l_cli.learners.base import Learner
from l2l_cli.learners.lstm1997 import LSTM1997
from l2l_cli.papers.base import Artefact
from l2l_cli.papers.hochreiter2001.measures import values_of
from l2l_cli.papers.hochreiter2001.published import network_of
from l2l_cli.results.frame import Metric, Result, summarise
from l2l_cli.results.plot import COLOURS, decorate, panels, save
from l2l_cli.results.report import Figure, Section
from l2l_cli.runs.building import build_learner
from l2l_cli.runs.loading import Trained

SEQUENCES = 16
"""Over which log|det| is averaged."""

SMALLEST = -30.0
"""log|det| per unit at which a map counts as singular."""


def volume_rows(trained: Trained) -> list[Metric]:
    """Measure log|det ∂s_{l+1}/∂s_l| per unit of state along sequences, before and after meta-training."""
    seed = trained.settings.seed
    before = build_learner(trained.settings, trained.task)
    rows = []
    after = build_learner(trained.settings, trained.task)
    after.load_state_dict(trained.learner.state_dict())
    for name, learner in (("before", before), ("after", after)):
        if isinstance(learner, LSTM1997):  # the cut is the learning rule's, not the map's
            learner = learner.untruncated()
        for metric, carousel in (("log_volume", False), ("log_volume_cells", True)):
            values = log_volume(learner, derive(seed, "volume"), carousel)
            if values is not None:
                steps = enumerate(values.mean(1).tolist(), start=2)
                rows += [Metric(name, seed, "mean", step, "test", metric, value) for step, value in steps]
    return rows


def log_volume(learner: Learner[Any], seed: int, cells: bool = False, steps: int = 64) -> Tensor | None:
    """Return log|det ∂s_{l+1}/∂s_l| per unit for l = 1 … T − 1, (T − 1, E).

    Args:
        learner: With a state of activations (..., E, units); the last target is none.
        seed: Of the sequences.
        cells: Of the map between the states of memory cells alone, all else held; None for a network without any.
        steps: T.
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


def volume(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Draw log|det| along sequences for each network's best setting, and against the error for all settings."""
    run = {row: frame for row, frame in rows.items() if len(frame)}
    results = [_result(row, frame) for row, frame in run.items()]
    best: dict[str, str] = {}
    for row in sorted(run, key=lambda name: np.median(values_of(run[name], "learner", "test"))):
        best.setdefault(network_of(row), row)
    figure, axes = panels(1, 2, height=3.2)
    for index, row in enumerate(best.values()):
        for name, style in (("before", ":"), ("after", "-")):
            part = run[row][(run[row].contender == name) & (run[row].metric == "log_volume")]
            curve = part.groupby("step").value.mean()
            label = row if name == "after" else None
            axes[0].plot(curve.index, curve, style, color=COLOURS[index], label=label)
    axes[0].axhline(0.0, color="#555555", linewidth=0.8)
    decorate(axes[0], "Along a sequence (dotted: before)", "example", "log|det| per unit of state")
    _scatter(axes[1], run, list(best))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save(figure, folder / "figures" / "volume")
    drawn = Figure(
        folder / "figures" / "volume.png",
        "log|det ∂s/∂s| per unit of state.  Left: each network's best setting, mean over seeds.  Right: every seed of "
        "every setting after meta-training against its test MSEt.",
    )
    return Artefact(results, [Section("Beyond the paper: is volume conserved?", _text(run), figures=[drawn])])


def _mean(frame: pd.DataFrame, name: str, metric: str = "log_volume") -> list[float]:
    part = frame[(frame.contender == name) & (frame.metric == metric)]
    return [float(value) for value in part.groupby("seed").value.mean()]


def _result(row: str, frame: pd.DataFrame) -> Result:
    note = f"mean over a sequence; before meta-training {np.mean(_mean(frame, 'before')):.3g}; the theory asks for 0"
    carousel = _mean(frame, "after", "log_volume_cells")
    if carousel:
        note += f"; of the cells alone {np.mean(carousel):.3g}"
    key = ("volume", row, "log_det_per_unit")
    return summarise(key, _mean(frame, "after"), None, None, note, lower_is_better=None)


def _scatter(axes: Any, run: Mapping[str, pd.DataFrame], order: list[str]) -> None:
    for index, network in enumerate(order):
        members = [frame for row, frame in run.items() if network_of(row) == network]
        x = [value for frame in members for value in _mean(frame, "after")]
        y = [value for frame in members for value in values_of(frame, "learner", "test")]
        axes.scatter(x, y, s=16, color=COLOURS[index], alpha=0.7)
    decorate(axes, "Against success", "log|det| per unit, after", "test MSEt", "y")


def _text(run: Mapping[str, pd.DataFrame]) -> list[str]:
    volumes = {name: [v for frame in run.values() for v in _mean(frame, name)] for name in ("before", "after")}
    errors = [value for frame in run.values() for value in values_of(frame, "learner", "test")]
    text = [
        "§2.2 argues that a network which learns to learn must retain what it saw of every example equally, so the map "
        "from one state to the next should conserve volume: log|det ∂s_{l+1}/∂s_l| should average 0.  Below it is "
        "measured on the whole state (for LSTMs activations and cells) of every network of Table 1, per unit."
    ]
    if len(errors) > 2:
        before, after = (spearmanr(volumes[name], errors).statistic for name in ("before", "after"))
        judged = "too weak to say who will succeed" if abs(before) < 0.5 else "strong enough to be useful"
        text.append(
            f"Over {len(errors)} trained networks the rank correlation of log|det| with the test error is "
            f"{before:+.2f} before meta-training, {judged}, and {after:+.2f} after (the theory predicts −1).  The "
            "carousel of the 1997 cells, all else held, conserves volume exactly, before and after, in the seeds that "
            "fail too: it makes learning possible, and is no measure of whether it happened."
        )
    return text
