"""Types and ranges of the configuration, except its nodes, which are checked against the classes that they name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from l2l_cli.config.hardware import Hardware
from l2l_cli.config.storing import Storing
from l2l_cli.core.layout import OUTPUTS
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
        steps: Length of an episode; null means the task's horizon.
        stretch: Multiples of that length at which ``evaluate`` scores.
        seeds: Seeds of the test episodes; each seed draws its own set of them.
        chunk: Number of episodes that are scored side by side, which bounds the memory.
        grid: Lists of values by key of the task's node, as in {activation: [sigmoid, relu]}.  ``evaluate`` scores on
            the task with each combination of these values.
        problems: Changes to the task's node by name of the problem, as in {wider: {hidden: [40]}}.  ``evaluate`` scores
            on each problem; without any, on the unchanged task.
        learner: Changes to the learners' nodes of finished runs before they are scored, as in {rule.lr: 0.5}; their φ
            must still fit.
        against: Names of hand-made learners.  ``evaluate`` tunes them for every problem and horizon, and reports the
            run's loss as a multiple of the best one's.
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
    """How hand-made learners are tuned, in phase tune.

    Attributes:
        grid: Lists of values by configuration key, all combinations of which are tried; conf/tune/ sets it.  Null omits
            a key, here and below.
        ranges: Ranges by configuration key from which settings are drawn at random, instead of a grid: [low, high], or
            [low, high, stream] for draws that do not depend on the other keys.
        choices: Lists of values by configuration key from which settings are drawn in addition to ``ranges``, as in
            {learner.schedule: [constant, cosine, linear]}.  The last quarter of the budget tries the best settings with
            other choices.
        own: Number of settings in the budget, at most a quarter, that are not drawn: they are spread evenly over the
            first range, and keep the learner's own values otherwise.
        budget: Number of settings that are tried for each learner; conf/tune/ may ask for more, which every table then
            states.
        extensions: Number of further settings that may be tried for each learner: if the best value of a key is at an
            end of its list or range, the search continues beyond it, one value at a time; never for a grid that the
            budget cuts off.
        halving: Lists of ``settings`` and ``episodes``, rung by rung, instead of ``episodes``: the best settings of a
            rung advance to the next, as in {settings: [32, 8, 2], episodes: [1, 4, 8]}; null does not halve.
        episodes: Number of episodes of phase tune on which a setting is scored.
        criterion: Loss that is minimised: "final" is that of the last step, "end" that of the last tenth of the steps,
            "mean" that of all, "held_out" that of the steps whose targets are hidden.  Null follows the first finished
            run that is compared; without one, it is held_out for a task that hides targets and mean for all others.
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
        """The lists of values, in a grid or next to ranges, that are not null."""
        return {key: values for key, values in {**self.grid, **self.choices}.items() if values is not None}

    @property
    def rungs(self) -> list[tuple[int, int]]:
        """Numbers of settings and of episodes by rung; empty without halving."""
        return rungs_of(self.halving, "tune.halving") if self.halving else []


@dataclass
class Search:
    """Random search over numbers of meta-training, by short trials before the actual run.

    Attributes:
        trials: Number of trials; 0 means no search.
        updates: Number of meta-updates in each trial.
        ranges: Ranges by configuration key, from which trials draw log-uniformly, as in ``tune.ranges``; null omits a
            key.  A plus sign adds a key, as in +search.ranges={gradient.sigma: [0.001, 0.1]}.
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
    """Where data sets are kept, not which are used: folder ``dir``; null means $L2L_DATA or else the user's cache."""

    dir: str | None = None


ROLES = ("learned", "rival", "solver", "control", "best known", "limit")

TRAINED = ("learned", "control", "best known")
"""Roles of rows that may be meta-trained."""


@dataclass
class Row:
    """One contender of an experiment: its configuration, and its purpose.

    Attributes:
        use: Overrides that make up its configuration, applied after ``common``, which all rows of the experiment share.
        role: Purpose of the row: "learned" is meta-trained, "rival" hand-made and tuned, "solver" a rival that
            evaluates each batch more than once per step and does not compete, "control" explains another row, "best
            known" is the best known result where the limit is unknown, and does not compete, "limit" is the best
            possible result.
        group: Family of rows that it belongs to, such as those with the same update rule.
        ours: Whether it goes beyond the paper's own rows.
        x: Values along the horizontal axes of figures, by name of the axis.
        also: Names of quantities measured besides the losses; the paper's class defines them.
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
        logger: Node of the logger that records a meta-training besides metrics.csv; empty for none.
        vary: Lists of values by argument of the task, from which each draw of episodes in meta-training chooses.
        contenders: Lists of overrides by name, for ``compare``.
        paper: Node of the class that defines what is measured for an experiment's rows.
        artefact: Node of the class that judges and plots an experiment.
        common: Overrides that all rows of an experiment have in common.
        rows: Rows of an experiment by name.
        published: Published numbers by problem, row and metric.
        scales: Changes to an experiment by scale.
        question: Question that an experiment answers, in one sentence.
        text: Paragraphs that explain an experiment; its claims are shown after the first.
        source: Place in the paper that an experiment reproduces.
        name: Name of the run; by default "<task>-<learner>".
        output: Folder of all results.
        choices: Name of the chosen file by group.
        overrides: Overrides as typed.
        config_dir: Folder with the user's configuration files.
        replaces: Output and store that the results replace when complete; empty unless something is run again.
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
    output: str = OUTPUTS
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
