"""The parts of a paper: the measurements of each run, and the artefacts that judge and draw them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple, get_args, get_type_hints

from l2l_cli.config.schema import Row, Settings
from l2l_cli.evaluation.contest import Contender, Entry, Problem, scored
from l2l_cli.evaluation.curves import rows_of
from l2l_cli.evaluation.score import Tell
from l2l_cli.evaluation.tune import Tuning
from l2l_cli.learners.base import Learner
from l2l_cli.papers.headline import Headline
from l2l_cli.papers.measured import BEYOND, CHOSEN, EDGE, TRIALS, TUNE, Measured
from l2l_cli.results.content import Section
from l2l_cli.results.metrics import Metric
from l2l_cli.results.store import Store
from l2l_cli.results.verdicts import Result
from l2l_cli.runs.contenders import hand_made_contender, learned_contender, problems_of
from l2l_cli.tasks.base import Task


@dataclass(frozen=True)
class Subject:
    """The learner of one row and seed, ready to be measured: a finished run's, or a hand-made one still to be tuned.

    Attributes:
        name: Name of the row.
        row: Description of the row.
        learner: Learner as it was trained or, if it is hand-made, as it is configured.
        task: Task that it was trained on.
        settings: Complete configuration.
        store: Store that keeps scores and trials; None if nothing is kept.
        tell: Function that is told of the progress of trials, each of which counts as 1.
        scoring: Function that is told of the progress of scoring entries, each of which counts as 1.
    """

    name: str
    row: Row
    learner: Learner[Any]
    task: Task
    settings: Settings
    store: Store | None = None
    tell: Tell = lambda share, note: None
    scoring: Tell = lambda share, note: None

    @property
    def seed(self) -> int:
        """Seed of all that was drawn for the learner."""
        return self.settings.seed

    @property
    def test_seed(self) -> int:
        """Seed of test episodes that no other seed of the row meets: the evaluation's first seed plus ``seed``."""
        return self.settings.evaluation.seeds[0] + self.settings.seed

    def contender(self, tuned: bool = False) -> Contender:
        """Return the learner as a contender: transferred to each problem, or tuned for it if it is hand-made.

        If ``tuned``, settings of a meta-trained learner other than its meta-parameters are tuned for each problem too.
        """
        if self.learner.is_meta_trained:
            tell = self.tell if tuned else None
            return learned_contender(self.name, self.learner, self.settings, tell, self.store)
        return hand_made_contender(self.name, self.settings, self.tell, self.store)

    def entries(self, shorten: bool = False) -> Iterator[Entry]:
        """Yield the learner on every problem; with ``shorten``, longer problems have proportionally fewer episodes."""
        contender = self.contender()
        for problem in self.problems(shorten):
            yield contender.enter(problem)

    def problems(self, shorten: bool = False) -> list[Problem]:
        """Return the problems of its evaluation; see ``entries``."""
        return problems_of(self.settings, self.task.horizon if shorten else None)

    def scores(self, entry: Entry, marks: Sequence[int] = (), variant: str = "") -> Iterator[Metric]:
        """Score an entry and yield its curves, each episode's losses at some steps, and how it was tuned.

        Every contender and every seed of it meets the same test episodes, so comparisons are paired over episodes.
        Besides the ``marks`` within a problem, every episode's loss is kept at its last step.
        """
        problem = entry.problem.name
        joined = scored(entry, self.store, tell=self.scoring).joined
        kept = sorted({mark for mark in marks if mark < entry.problem.steps} | {entry.problem.steps})
        rows = rows_of(joined, self.name, self.seed, problem, marks=kept)
        yield from (row._replace(variant=variant) for row in rows)
        yield from self.tuning(entry.tuning, problem, variant)

    def tuning(self, tuning: Tuning | None, problem: str, variant: str = "") -> Iterator[Metric]:
        """Yield the number of trials and, by key, the value chosen and whether it lies at the edge of its grid.

        A value that is not a number, such as the name of a schedule, is put into the column ``statistic``.
        """
        if tuning is None:
            return
        row = partial(Metric, self.name, self.seed, problem=problem, split=TUNE, variant=variant)
        yield row(TRIALS, float(len(tuning.trials)))
        if tuning.beyond:
            yield row(BEYOND, float(tuning.beyond))
        for key, value in tuning.best.setting.items():
            is_number = isinstance(value, int | float)
            yield row(
                key, float(value) if is_number else math.nan, 0, None, "" if is_number else str(value), part=CHOSEN
            )
            yield row(key, float(key in tuning.at_edge), part=EDGE)


class Content(NamedTuple):
    """A table, a figure or a numbered claim of a paper.

    Attributes:
        what: Its name, and what it shows.
        artefacts: Artefacts that reproduce it; empty if none does.
        why_not: Reason why none does, or what is left out.
    """

    what: str
    artefacts: Sequence[str] = ()
    why_not: str = ""


class Paper(ABC):
    """One paper.

    Attributes:
        title: Title of the report.
        citation: Authors, title and venue.
        contents: Every table, figure and numbered claim, in the paper's order, which is that of the report.
        headline: What a reader sees first; without it, the first artefact's question, numbers and figure.
    """

    title: ClassVar[str]
    citation: ClassVar[str]
    contents: ClassVar[Sequence[Content]] = ()
    headline: ClassVar[Headline | None] = None

    @abstractmethod
    def measure(self, subject: Subject) -> Iterator[Metric]:
        """Yield all measurements of one learner that tables and figures need, as tidy rows."""


@dataclass(frozen=True)
class Findings:
    """The outcome of judging an artefact.

    Attributes:
        results: One result for each published number, and others of ours.
        sections: Sections of the report.
    """

    results: Sequence[Result]
    sections: Sequence[Section] = field(default_factory=list)

    def unjudged(self) -> Findings:
        """Return the findings of a smoke run, which judges nothing."""
        sections = [replace(one, claims=[claim.unjudged() for claim in one.claims]) for one in self.sections]
        return Findings([one.uncounted() for one in self.results], sections)


RowName = Annotated[str, "name of a row"]
"""Type of an artefact's option, or of a part of one, that names a row of the experiment."""


class Artefact(ABC):
    """A table or figure, usually a dataclass whose fields are options of the experiment's file."""

    def refers_to(self) -> Sequence[str]:
        """Return the rows that the artefact needs: the values in its fields whose type is ``RowName``."""
        hints = get_type_hints(type(self), include_extras=True)
        return [row for name, hint in hints.items() for row in _rows_in(hint, getattr(self, name))]

    @abstractmethod
    def judge(self, measured: Measured) -> Findings:
        """Judge and draw the artefact from the measurements of its rows."""


def _rows_in(hint: object, value: object) -> Iterator[str]:
    if hint == RowName:
        yield str(value)
    elif isinstance(value, Mapping):
        for pair in value.items():
            for kind, part in zip(get_args(hint), pair, strict=True):
                yield from _rows_in(kind, part)
    elif isinstance(value, list):
        (kind,) = get_args(hint)
        for part in value:
            yield from _rows_in(kind, part)
