"""Types and ranges of the configuration, but for its nodes, which are checked against the classes that they name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from l2l_cli.config.hardware import Hardware
from l2l_cli.config.storing import Storing
from l2l_cli.core.ranges import Range, at_least, ranges_of, rungs_of
from l2l_cli.meta.plan import CRITERIA, MetaPlan

GROUPS = ("task", "learner", "optimizer", "gradient", "hardware", "tune", "logger", "recipe", "experiment")

SCALES = ("smoke", "short", "study", "paper")
"""Sizes at which an artefact can be reproduced."""

SEARCHED = ("optimizer", "gradient", "meta")
"""Parts of the configuration that a search may change: how φ is trained, never what is evaluated."""


@dataclass
class Evaluation:
    """How a learner is scored.

    Attributes:
        episodes: Number of fresh test episodes, the same ones for every contender.
        steps: Length of an episode; null is the task's horizon.
        stretch: Multiples of that length at which ``evaluate`` scores.
        seeds: Seeds of the test episodes; each seed draws its own set of them.
        chunk: Number of episodes that are scored side by side, which bounds the memory.
        grid: Lists of values by key of the task's node, as in {activation: [sigmoid, relu]}.  ``evaluate`` scores on
            the task with each combination of these values.
        problems: Changes of the task's node by the name of the problem, as in {wider: {hidden: [40]}}.  ``evaluate``
            scores on each problem; without any, on the task as it is.
        learner: Changes of the nodes of finished runs' learners before they are scored, as in {rule.lr: 0.5}; their φ
            must still fit.
        against: Names of hand-made learners.  ``evaluate`` tunes them for every problem and horizon, and gives the
            run's loss as a multiple of that of the best.
    """

    episodes: int = 256
    steps: int | None = None
    stretch: list[float] = field(default_factory=lambda: [1.0, 2.0])
    seeds: list[int] = field(default_factory=lambda: [0])
    chunk: int = 1024
    grid: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, Any] = field(default_factory=dict)
    learner: dict[str, Any] = field(default_factory=dict)
    against: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(1, evaluation__episodes=self.episodes, evaluation__steps=self.steps, evaluation__chunk=self.chunk)
        if not self.seeds or min(self.seeds) < 0:
            raise ValueError(f"evaluation.seeds must be a list of numbers from 0, not {self.seeds}")
        if not self.stretch or min(self.stretch) <= 0:
            raise ValueError(f"evaluation.stretch must be a list of numbers above 0, not {self.stretch}")


@dataclass
class Tune:
    """How hand-made learners are tuned, on the tune phase.

    Attributes:
        grid: Lists of values by configuration key, each combination of which is tried; conf/tune/ sets it.  Null leaves
            a key out, here and below.
        ranges: Ranges by configuration key, in place of a grid, from which settings are drawn at random: [low, high],
            or [low, high, stream] for draws that do not depend on the other keys.
        choices: Lists of values by configuration key, from which settings are drawn beside ``ranges``, as in
            {learner.schedule: [constant, cosine, linear]}.  The last quarter of the budget gives the best settings
            drawn other choices.
        own: Number of these settings, a quarter at most, that are not drawn: they lie evenly over the first range, and
            keep the learner's own values in all else.
        budget: Number of settings that are tried for each learner; conf/tune/ may ask for more, and every table says
            so.
        extensions: Number of further settings that may be tried for each learner: where the best value of a key is an
            end of its list or range, the search goes on from it, one value farther out at a time; never from a grid
            that the budget cuts.
        halving: Lists of ``settings`` and ``episodes``, rung by rung, in place of ``episodes``: the best settings of a
            rung go on to the next, as in {settings: [32, 8, 2], episodes: [1, 4, 8]}; null does not halve.
        episodes: Number of tune episodes that a setting is scored on.
        criterion: Loss that is minimised: "final" is that of the last step, "end" that of the last tenth of the steps,
            "mean" that of all, "held_out" that of the steps whose targets are hidden.  Null follows the first finished
            run that is compared, or else is held_out for a task that hides targets and mean for all others.
    """

    grid: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)
    own: int = 0
    budget: int = 8
    extensions: int = 0
    halving: dict[str, Any] | None = field(default_factory=dict)
    episodes: int = 64
    criterion: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(1, tune__budget=self.budget, tune__episodes=self.episodes)
        at_least(0, tune__extensions=self.extensions, tune__own=self.own)
        _ = self.rungs
        gridded = {key: values for key, values in self.grid.items() if values is not None}
        if gridded and self.drawn_from:
            raise ValueError("tune.grid and tune.ranges are two ways to tune one learner; give one of them")
        if gridded and self.choices:
            raise ValueError("tune.choices go with tune.ranges; in a tune.grid, choices are one more key")
        for key, values in self.choices.items():
            if values is not None and not (isinstance(values, list) and values):
                raise ValueError(f"tune.choices must give {key} as a list of values, not {values!r}")
        if self.criterion not in (None, *CRITERIA):
            raise ValueError(f"tune.criterion must be null, {', '.join(CRITERIA)}, not {self.criterion!r}")

    @property
    def drawn_from(self) -> dict[str, Range]:
        """The ranges that are not null."""
        return ranges_of(self.ranges, "tune.ranges")

    @property
    def lists(self) -> dict[str, list[Any]]:
        """The lists of values, in a grid or beside ranges, that are not null."""
        return {key: values for key, values in {**self.grid, **self.choices}.items() if values is not None}

    @property
    def rungs(self) -> list[tuple[int, int]]:
        """Numbers of settings and of episodes by rung; empty if nothing is halved."""
        return rungs_of(self.halving, "tune.halving") if self.halving else []


@dataclass
class Search:
    """Random search for the numbers of meta-training, by short trials before the run itself.

    Attributes:
        trials: Number of trials; 0 does not search.
        updates: Number of meta-updates in each trial.
        ranges: Ranges by configuration key, in which trials draw log-uniformly, as in ``tune.ranges``; null leaves a
            key out.  A plus sign adds a key, as in +search.ranges={gradient.sigma: [0.001, 0.1]}.
    """

    trials: int = 0
    updates: int = 300
    ranges: dict[str, Any] = field(default_factory=lambda: {"optimizer.lr": [1e-3, 3e-2, "optimizer.lr"]})

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(0, search__trials=self.trials)
        at_least(1, search__updates=self.updates)
        if self.trials and not self.wanted:
            raise ValueError("search.trials needs search.ranges, as in {optimizer.lr: [1e-3, 3e-2]}")
        for key, each in self.wanted.items():
            if key.split(".")[0] not in SEARCHED:
                raise ValueError(f"search.ranges is for numbers under {', '.join(SEARCHED)}, not {key}")
            if each.low <= 0:
                raise ValueError(f"search.ranges must give {key} as [low, high] with 0 < low < high, not {[*each[:2]]}")

    @property
    def wanted(self) -> dict[str, Range]:
        """The ranges that are not null."""
        return ranges_of(self.ranges, "search.ranges")


@dataclass
class Data:
    """Where data sets are kept, never which are used: folder ``dir``; null is $L2L_DATA, or else the user's cache."""

    dir: str | None = None


ROLES = ("learned", "rival", "solver", "control", "best known", "limit")

TRAINED = ("learned", "control", "best known")
"""Roles of the rows that may be meta-trained."""


@dataclass
class Row:
    """One contender of an experiment: what its configuration is, and what it is there for.

    Attributes:
        use: Overrides that make its configuration, after those that all rows of the experiment have in ``common``.
        role: Reason why it is there: "learned" is meta-trained, "rival" hand-made and tuned, "solver" a rival that
            evaluates each batch more than once per step and does not compete, "control" explains another row, "best
            known" is the best that anybody has found where the limit is not known, and does not compete, "limit" is the
            best that is possible.
        group: Family of rows that it belongs to, such as those that share an update rule.
        ours: Whether it goes beyond the paper's own rows.
        x: Values along the horizontal axes of figures, by name of the axis.
        also: Names of what is measured beside the losses; a paper says which there are.
    """

    use: list[str] = field(default_factory=list)
    role: str = "rival"
    group: str = ""
    ours: bool = False
    x: dict[str, float] = field(default_factory=dict)
    also: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the role."""
        if self.role not in ROLES:
            raise ValueError(f"a row's role must be {', '.join(ROLES)}, not {self.role!r}")


@dataclass
class Settings:
    """A resolved configuration.

    Attributes:
        task: Node of the task, a mapping with a ``_target_``; so are learner, optimizer and gradient.
        logger: Node of what logs the records of a meta-training beside metrics.csv; empty is nothing.
        vary: Lists of values by argument of the task, from which meta-training draws with each draw of episodes.
        contenders: Lists of overrides by name, for ``compare``.
        paper: Node of the class that says what is measured of an experiment's rows.
        artefact: Node of the class that judges and draws an experiment.
        common: Overrides that all rows of an experiment have in common.
        rows: Rows of an experiment by name.
        published: Published numbers by problem, row and metric.
        scales: Changes of an experiment by scale.
        question: What an experiment asks, in one sentence.
        text: Paragraphs that explain an experiment, the claims after the first.
        source: Place in the paper that an experiment reproduces.
        name: Name of the run; by default "<task>-<learner>".
        output: Folder of all results.
        choices: Name of the chosen file by group.
        overrides: Overrides as they were typed.
        config_dir: Folder with the user's configuration files.
        replaces: Output and store whose entries the results replace when complete; empty for what does not run again.
    """

    task: dict[str, Any] = field(default_factory=dict)
    learner: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    gradient: dict[str, Any] = field(default_factory=dict)
    meta: MetaPlan = field(default_factory=MetaPlan)
    evaluation: Evaluation = field(default_factory=Evaluation)
    tune: Tune = field(default_factory=Tune)
    search: Search = field(default_factory=Search)
    hardware: Hardware = field(default_factory=Hardware)
    data: Data = field(default_factory=Data)
    store: Storing = field(default_factory=Storing)
    logger: dict[str, Any] = field(default_factory=dict)
    vary: dict[str, Any] = field(default_factory=dict)
    contenders: dict[str, Any] = field(default_factory=dict)
    paper: dict[str, Any] = field(default_factory=dict)
    artefact: dict[str, Any] = field(default_factory=dict)
    common: list[str] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)
    published: dict[str, Any] = field(default_factory=dict)
    scales: dict[str, Any] = field(default_factory=dict)
    question: str = ""
    text: list[str] = field(default_factory=list)
    source: str | None = None
    name: str | None = None
    output: str = "outputs"
    seed: int = 0
    choices: dict[str, Any] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    config_dir: str | None = None
    replaces: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(0, seed=self.seed)
        if self.name is not None and (not self.name or "/" in self.name):
            raise ValueError(f"name must be a folder's name, not {self.name!r}")

    @property
    def run_name(self) -> str:
        """The run's name."""
        return self.name or f"{self.choices.get('task', 'task')}-{self.choices.get('learner', 'learner')}"


@dataclass(frozen=True)
class ReproduceRequest:
    """Arguments of the command ``reproduce``.

    Attributes:
        paper: Name of the paper, a folder of conf/experiment.
        artefacts: Names of artefacts, files of that folder; none is all.
        scale: Name of the scale: smoke, short or paper.
        seeds: Number of seeds in place of the scale's.
        output: Folder for the results; None is outputs/PAPER/SCALE-HASH.
        check: Whether to fail if a number breaks one of the preset's promises.
        processes: Number of runs in parallel; None is one per core.
        config_dir: Folder with further configuration.
        overrides: Overrides of every row's configuration, as typed.
        force: Whether all of it runs again although it is done.
    """

    paper: str
    artefacts: tuple[str, ...] = ()
    scale: str = "short"
    seeds: int | None = None
    output: str | None = None
    check: bool = False
    processes: int | None = None
    config_dir: str | None = None
    overrides: tuple[str, ...] = ()
    force: bool = False
