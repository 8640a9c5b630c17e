"""The posterior of semi-linear functions that change without notice, exact except for pruning.

A run is the stretch of examples since the current function began.  Without noise, n examples of one function confine
its weights w to a slice of the cube [−1, 1]³, and the joint density of u_i = artanh(2y_i − 1) = w·(x_i, 1) is

    |slice| / (8 √det(X Xᵀ)),        X the n ≤ 3 rows (x_i, 1),

by the coarea formula; the factor from u to y is the same for every run.  After three examples w is known, and the next
example either agrees with it, up to the rounding of targets, or ends the run.  Runs are weighted as in Adams and MacKay
2007 (arXiv 0710.3742), and the least likely are dropped.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from l2l_cli.learners.bayes.cube_quadrature import cube_slice, slice_size
from l2l_cli.tasks.functions import SemiLinear

RUNS = 12
"""Number of runs that are kept."""

EXCLUDED = -1e30
"""Logarithm of the probability of an excluded run."""

ROUNDING = 6e-8
"""Standard deviation of a target about its function's value, due to rounding to float32."""


class Runs(NamedTuple):
    """Runs of E episodes, float64.

    Attributes:
        log_weight: Logarithm of the probability that the function of the next example is that of the run, (E, R).
        rows: First three examples of a run: (x, 1), u, and the standard deviation of u due to rounding, (E, R, 3, 5).
        seen: Number of these examples so far, (E, R).
    """

    log_weight: Tensor
    rows: Tensor
    seen: Tensor


class ChangingSemiLinearPosterior:
    """The posterior of semi-linear functions that are replaced before each example with the same probability.

    Args:
        task: Family of the functions.
        hazard: Probability of a change.
    """

    def __init__(self, task: SemiLinear, hazard: float) -> None:
        del task
        self._log_hazard, self._log_stay = math.log(hazard), math.log1p(-hazard) if hazard < 1 else EXCLUDED

    def prior(self, episodes: int) -> Runs:
        """Return a run without examples, in the last place."""
        weight = torch.full((episodes, RUNS), EXCLUDED, dtype=torch.float64)
        weight[:, -1] = 0.0
        return Runs(weight, weight.new_zeros(episodes, RUNS, 3, 5), torch.zeros(episodes, RUNS, dtype=torch.int64))

    def mean(self, knowledge: Runs, inputs: Tensor) -> Tensor:
        """Average over the weights that each run allows, and over runs."""
        extended = torch.cat([inputs, torch.ones_like(inputs[..., :1])], -1)
        means = torch.full((*knowledge.seen.shape, inputs.shape[1]), 0.5, dtype=torch.float64)
        for count, where in _by_count(knowledge):
            if count:
                rows = knowledge.rows[where][:, :count]
                points, weights = cube_slice(rows[..., :3], rows[..., 3])
                values = torch.sigmoid(2.0 * torch.einsum("qni,qpi->qnp", extended[where[0]], points))
                means[where] = (values * weights.unsqueeze(1)).sum(-1)
        return torch.einsum("er,ern->en", knowledge.log_weight.softmax(1), means)

    def observe(self, knowledge: Runs, inputs: Tensor, target: Tensor) -> Runs:
        """Weight all runs by the density of the example, then let a new run begin with the hazard's probability."""
        inner = target.clamp(1e-9, 1.0 - 1e-9)
        doubt = ROUNDING / (2.0 * inner * (1.0 - inner))
        columns = [inputs, torch.ones_like(inputs[:, :1]), 0.5 * torch.logit(inner).unsqueeze(1), doubt.unsqueeze(1)]
        row = torch.cat(columns, 1)
        weight, rows, count = knowledge.log_weight.clone(), knowledge.rows.clone(), knowledge.seen.clone()
        for seen, where in _by_count(knowledge):
            new = row[where[0]]
            weight[where] += _log_density(knowledge.rows[where][:, :seen], new)
            if seen < 3:
                rows[where[0], where[1], seen] = new
                count[where] += 1
        weight = (weight - weight.logsumexp(1, keepdim=True)).clamp(min=EXCLUDED)
        best = weight.topk(RUNS - 1, 1).indices
        episode = torch.arange(len(best)).unsqueeze(1)
        begun = self.prior(len(best))
        parts = zip((weight + self._log_stay, rows, count), begun, strict=True)
        joined = Runs(*(torch.cat([old[episode, best], new[:, -1:]], 1) for old, new in parts))
        joined.log_weight[:, -1] = self._log_hazard
        return joined


def _by_count(knowledge: Runs) -> list[tuple[int, tuple[Tensor, Tensor]]]:
    """Return, for each number of examples, the indices of the runs that have this number and are not excluded."""
    alive = knowledge.log_weight > EXCLUDED / 2
    found = []
    for count in range(4):
        episode, run = torch.where(alive & (knowledge.seen == count))
        found.append((count, (episode, run)))
    return found


def _log_density(rows: Tensor, new: Tensor) -> Tensor:
    """Return the logarithm of the density of u for new rows (Q, 5) after n ≤ 3 of the same function, (Q, n, 5)."""
    if rows.shape[1] < 3:
        both = torch.cat([rows, new.unsqueeze(1)], 1)
        before = _log_joint(rows) if rows.shape[1] else torch.zeros_like(new[:, 0])
        return (_log_joint(both) - before).clamp(min=EXCLUDED)
    # The new row is a linear combination of the three rows, and its u is the same combination of their rounded u.
    factors = torch.linalg.lstsq(rows[..., :3].mT, new[:, :3].unsqueeze(2)).solution.squeeze(2)
    variance = new[:, 4].square() + (factors * rows[..., 4]).square().sum(1)
    off = new[:, 3] - (factors * rows[..., 3]).sum(1)
    density: Tensor = -0.5 * (off.square() / variance + (2.0 * math.pi * variance).log())
    return density


def _log_joint(rows: Tensor) -> Tensor:
    size = slice_size(rows[..., :3], rows[..., 3])
    gram = torch.linalg.det(rows[..., :3] @ rows[..., :3].mT).clamp(min=1e-300)
    joint: Tensor = (size / (8.0 * gram.sqrt())).log().clamp(min=EXCLUDED)
    return joint
