"""The certificate of a comparison: how each learned rule compares with each tuned rival."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from l2l_cli.config.compose import identity_of_training
from l2l_cli.config.groups import ANY_CLASS
from l2l_cli.config.schema import Settings
from l2l_cli.core.ledger import LEDGER
from l2l_cli.core.nodes import Entries
from l2l_cli.core.printable import counted
from l2l_cli.core.voice import VOICE
from l2l_cli.evaluation.contest import Standing
from l2l_cli.evaluation.tune import shown
from l2l_cli.results.certificate import MEANING, Certificate, Price, best_rival, judged, marks_of, reached
from l2l_cli.results.content import Section
from l2l_cli.results.exported import FinishedRun
from l2l_cli.results.spread import Array
from l2l_cli.runs.step_seconds import StepSeconds, step_seconds

SEED = "seed"
"""Suffix of the keys by which runs of one recipe differ."""


class TrainedRecipe(NamedTuple):
    """Runs of one recipe of meta-training, which differ only in their seeds.

    Attributes:
        name: Name in sentences and tables.
        standings: Scores of each run, on the same episodes.
        seconds: Seconds of one meta-training, as the mean over runs; None if they were not measured by the same clock
            as the steps.
    """

    name: str
    standings: list[Standing]
    seconds: float | None


class Certified(NamedTuple):
    """All certificates of a comparison.

    Attributes:
        all: One certificate for each recipe and rival.
        main: Certificate of the recipe with the lowest loss at the end against the rival with the lowest.
        measured: Description of how seconds were measured.
    """

    all: list[Certificate]
    main: Certificate
    measured: StepSeconds

    @property
    def section(self) -> Section:
        """The section of the report."""
        marks = pd.DataFrame([row for one in self.all for row in one.rows()])
        costs = pd.DataFrame([one.cost_row() for one in self.all])
        meaning = MEANING.format(clock=self.measured.clock, loop=self.measured.loop)
        question = "Is the learned rule worth using in place of a tuned optimizer?"
        return Section("Certificate", [self.main.sentence, meaning], [marks, costs], question=question)

    @property
    def facts(self) -> Entries:
        """Entries of run.json: the sentence of the main certificate, and all certificates."""
        return {"certificate": self.main.sentence, "certificates": [one.entries() for one in self.all]}

    def say(self) -> None:
        """Print the main certificate, and write all of them as events."""
        print(f"certificate: {self.main.sentence}")
        for one in self.all:
            VOICE.event("certificate", **one.entries())


def certified(finished: Sequence[tuple[FinishedRun, Settings]], standings: Mapping[str, Standing]) -> Certified | None:
    """Certify finished runs against the rivals of a comparison; None if there are no such runs or no rivals.

    Rivals are hand-made learners that evaluate each batch once.  If a task hides targets, nothing is certified, since
    the loss at a mark would be that of a few of them.

    Args:
        finished: Finished runs with their settings; their standings come first, in the same order.
        standings: Scores by contender.
    """
    learned = dict([*standings.items()][: len(finished)])
    others = {
        name: one
        for name, one in [*standings.items()][len(finished) :]
        if one.evaluations == 1.0 and not one.entry.learner.is_limit and one.joined.visible is None
    }
    if not finished or not others:
        return None
    recipes = [*_recipes(finished, learned)]
    rivals = _named(others, [one.name for one in recipes])
    steps = recipes[0].standings[0].entry.problem.steps
    by_name = {one.name: one.standings[0] for one in recipes} | rivals
    with LEDGER.of("scoring"):
        measured = step_seconds({name: one.entry.learner for name, one in by_name.items()}, steps)
    found = {
        (recipe.name, name): _certificate(recipe, name, rival, measured)
        for recipe in recipes
        for name, rival in rivals.items()
    }
    first = min(recipes, key=lambda one: float(_losses(one.standings, steps).mean()))
    best = best_rival({name: _losses([one], steps) for name, one in rivals.items()})
    return Certified([*found.values()], found[first.name, best], measured)


def _certificate(recipe: TrainedRecipe, name: str, rival: Standing, measured: StepSeconds) -> Certificate:
    steps, tuning = rival.entry.problem.steps, rival.entry.tuning
    curves = [_curve(recipe.standings), _curve([rival])]
    level = float(curves[0][-1])
    price = Price(
        recipe.seconds,
        measured.seconds[recipe.name],
        measured.seconds[name],
        steps,
        reached(curves[0], level) if math.isfinite(level) else None,
        reached(curves[1], level),
        len({shown(trial.setting) for trial in tuning.trials}) if tuning else 0,
    )
    marks = [judged(_losses(recipe.standings, mark), _losses([rival], mark), mark) for mark in marks_of(steps)]
    return Certificate(recipe.name, name, marks, price, "CPU-" if measured.is_cpu else "")


def _recipes(
    finished: Sequence[tuple[FinishedRun, Settings]], standings: Mapping[str, Standing]
) -> Iterator[TrainedRecipe]:
    """Yield runs by recipe, in their order; a run and its copies count once, since they are not independent."""
    groups: dict[str, dict[str, int]] = {}
    for index, (_, saved) in enumerate(finished):
        whole = identity_of_training(saved)
        recipe, run = (json.dumps(node, sort_keys=True, default=str) for node in (_without_seeds(whole), whole))
        groups.setdefault(recipe, {}).setdefault(run, index)
    names = [str(saved.choices["learner"]) for _, saved in finished]
    firsts = [next(iter(runs.values())) for runs in groups.values()]
    titles, scores = [*standings], [*standings.values()]
    on_cpu = torch.get_default_device().type == "cpu"
    for first, indices in zip(firsts, (list(runs.values()) for runs in groups.values()), strict=True):
        alike = [other for other in firsts if names[other] == names[first]]
        title = names[first] if len(alike) == 1 else titles[first]
        title = title if len(indices) == 1 else f"{title}, {counted(len(indices), 'run')}"
        seconds = [_seconds(finished[index][0], on_cpu) for index in indices]
        known = [one for one in seconds if one is not None]
        mean = sum(known) / len(known) if len(known) == len(seconds) else None
        yield TrainedRecipe(title, [scores[index] for index in indices], mean)


def _without_seeds(node: object) -> object:
    """Return a configuration without everything that its seed determines: the seed, and keys that end with its name."""
    if isinstance(node, Mapping):
        return {key: _without_seeds(value) for key, value in node.items() if not str(key).endswith(SEED)}
    return [*map(_without_seeds, node)] if isinstance(node, list) else node


def _seconds(run: FinishedRun, on_cpu: bool) -> float | None:
    """Return the seconds of a meta-training: CPU-seconds including reused ones or, on a GPU, wall-clock seconds.

    The two clocks cannot be compared, so a run from the other type of device has no seconds here.
    """
    facts = run.facts()
    was_on_cpu = str(facts.get("device", "cpu")).startswith("cpu")
    if was_on_cpu != on_cpu:
        return None
    if not on_cpu:
        return facts.get("seconds")
    spent = [*facts.get("cpu_seconds", {}).values(), *facts.get("reused_cpu_seconds", {}).values()]
    return float(sum(spent)) if spent else None


def _losses(standings: Sequence[Standing], steps: int) -> Array:
    """Return the losses of runs at a step, infinite if they are not finite, (S, E)."""
    rows = torch.stack([one.joined.losses[steps - 1].double().cpu() for one in standings]).numpy()
    return np.where(np.isfinite(rows), rows, np.inf)


def _curve(standings: Sequence[Standing]) -> Array:
    """Return the mean loss of runs at each step, (T,)."""
    curve: Array = torch.stack([one.joined.losses.double().cpu().mean(1) for one in standings]).mean(0).numpy()
    return curve


def _named(rivals: Mapping[str, Standing], taken: Sequence[str]) -> dict[str, Standing]:
    """Return rivals by name: a class of torch.optim has its own name, unless that is taken."""
    found: dict[str, Standing] = {}
    for name, one in rivals.items():
        learner = one.entry.identity.get("learner", {})
        own = str(learner["optimizer"]).rpartition(".")[2] if name == ANY_CLASS else name
        found[name if own in (*rivals, *taken) else own] = one
    return found
