"""The closed part of the configuration: types and ranges.  The open groups are checked against their classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from l2l_cli.core.ranges import Range, ranges_of
from l2l_cli.meta.plan import CRITERIA, MetaPlan

GROUPS = ("task", "learner", "optimizer", "gradient", "hardware", "tune", "recipe", "experiment")

SEARCHED = ("optimizer", "gradient", "meta")
"""What a search may change: how φ is trained, never what is evaluated."""


def _at_least(low: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < low:
            raise ValueError(f"{name.replace('__', '.')} must be at least {low}, not {value}")


@dataclass
class Evaluation:
    """How a learner is scored.

    Attributes:
        episodes: Fresh test episodes, the same for every contender.
        steps: Length of an episode; null is the task's horizon.
        stretch: ``evaluate`` also scores at these multiples of that length.
        seeds: One set of test episodes each.
        chunk: Episodes side by side; bounds the memory.
        grid: Lists of values by key of the task's node, as in {activation: [sigmoid, relu]}: ``evaluate`` scores on the
            task with each combination of them,
        problems: with each of these variations by name: what changes in its node, as in {wider: {hidden: [40]}};
            empty is the task as it is.
        learner: What changes in the nodes of finished runs' learners before they are scored, as in {rule.lr: 0.5};
            their φ must still fit.
        against: Hand-made learners by name; ``evaluate`` tunes them for every problem and horizon and shows the run's
            loss as a multiple of the best one's.
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
        _at_least(1, evaluation__episodes=self.episodes, evaluation__steps=self.steps, evaluation__chunk=self.chunk)
        if not self.seeds or min(self.seeds) < 0:
            raise ValueError(f"evaluation.seeds must be a list of numbers from 0, not {self.seeds}")
        if not self.stretch or min(self.stretch) <= 0:
            raise ValueError(f"evaluation.stretch must be a list of numbers above 0, not {self.stretch}")


@dataclass
class Tune:
    """How hand-made learners are tuned, on the tune phase.

    Attributes:
        grid: Values by configuration key; a learner's own file sets it,
        ranges: or for several keys at once [low, high] by configuration key, for random search.
        budget: Settings tried for each learner; a learner's own file may ask for more, and every table says so.
        episodes: Tune episodes a setting is scored on.
        criterion: "final" minimises the last step's loss, "end" that of the last tenth of the steps, "mean" that of
            all, "held_out" that of the steps whose targets are hidden; null follows the first finished run that is
            compared, or else is held_out for a task that hides some and mean for all others.
    """

    grid: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, Any] = field(default_factory=dict)
    budget: int = 8
    episodes: int = 64
    criterion: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        _at_least(1, tune__budget=self.budget, tune__episodes=self.episodes)
        _ = self.drawn_from
        if self.grid and self.ranges:
            raise ValueError("tune.grid and tune.ranges are two ways to tune one learner; give one of them")
        if self.criterion not in (None, *CRITERIA):
            raise ValueError(f"tune.criterion must be null, {', '.join(CRITERIA)}, not {self.criterion!r}")

    @property
    def drawn_from(self) -> dict[str, Range]:
        """The ranges that are not null."""
        return ranges_of(self.ranges, "tune.ranges")


@dataclass
class Search:
    """Random search for meta-training's own numbers, by short trials before the run itself.

    Attributes:
        trials: Number of them; 0 does not search.
        updates: Of φ, in each.
        ranges: Lowest and highest value by configuration key, between which trials draw log-uniformly; null leaves
            a key out.  A key is added by a plus sign, as in +search.ranges={gradient.sigma: [0.001, 0.1]}.
    """

    trials: int = 0
    updates: int = 300
    ranges: dict[str, Any] = field(default_factory=lambda: {"optimizer.lr": [1e-3, 3e-2, "optimizer.lr"]})

    def __post_init__(self) -> None:
        """Check the ranges."""
        _at_least(0, search__trials=self.trials)
        _at_least(1, search__updates=self.updates)
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
class Hardware:
    """Where and how fast; never what.

    Attributes:
        device: "cpu" or "cuda".
        threads: Of one process.
        replicas: Processes that share the work of each step, a part of the batch for each; for learners that fit the
            task's model by gradients or Gauss-Newton products, as ``hessian_free``, on models without batch
            normalisation.  Each has so many ``threads``, and on CUDA a GPU of its own.
        processes: That ``reproduce`` runs side by side; null is one a core.
        deterministic: Refuse operations whose result depends on timing.
        precision: "bfloat16" halves the memory of a learned rule's states in the kernels of a GPU.
        kernels: "auto" runs compiled kernels where there are some and 100 updates or more are to be made, "reference"
            never, "fast" refuses to do without.
    """

    device: str = "cpu"
    threads: int = 1
    replicas: int = 1
    processes: int | None = None
    deterministic: bool = True
    kernels: str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Check the ranges."""
        _at_least(
            1, hardware__threads=self.threads, hardware__replicas=self.replicas, hardware__processes=self.processes
        )
        if self.device.split(":")[0] not in ("cpu", "cuda"):
            raise ValueError(f"hardware.device must be cpu or cuda, not {self.device!r}")
        if self.kernels not in ("auto", "reference", "fast"):
            raise ValueError(f"hardware.kernels must be auto, reference or fast, not {self.kernels!r}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"hardware.precision must be float32 or bfloat16, not {self.precision!r}")


@dataclass
class Data:
    """Where data sets are; never which.

    Attributes:
        dir: Folder that they are looked for and kept in; null is $L2L_DATA, or else the user's cache.
    """

    dir: str | None = None


ROLES = ("learned", "rival", "solver", "control", "limit")


@dataclass
class Row:
    """One contender of an experiment: what its configuration is, and what it is there for.

    Attributes:
        use: Overrides that make its configuration, after those that all rows of the experiment have in ``common``.
        role: Reason why it is there: "learned" is meta-trained, "rival" hand-made and tuned, "solver" a rival that
            evaluates each batch more than once per step and does not compete, "control" explains another row, "limit"
            is the best that is possible.
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
        task: Node with a ``_target_``; so are learner, optimizer and gradient.
        vary: Of meta-training: lists of values for the task's arguments, drawn anew with each draw of episodes.
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
        name: Of the run; by default "<task>-<learner>".
        output: Folder of all results.
        choices: Which file of each group was chosen.
        overrides: As typed.
        config_dir: The user's own folder of configuration.
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

    def __post_init__(self) -> None:
        """Check the ranges."""
        _at_least(0, seed=self.seed)
        if self.name is not None and (not self.name or "/" in self.name):
            raise ValueError(f"name must be a folder's name, not {self.name!r}")

    @property
    def run_name(self) -> str:
        """The run's name."""
        return self.name or f"{self.choices.get('task', 'task')}-{self.choices.get('learner', 'learner')}"


@dataclass(frozen=True)
class ReproduceRequest:
    """What the reproduce command was asked.

    Attributes:
        paper: Folder under conf/experiment.
        artefacts: Files in it; none is all.
        scale: smoke, short or paper.
        seeds: Overrides the scale's number of seeds.
        output: Writes the results right there; None is outputs/<paper>-<scale>.
        check: Fail if a number lies outside what the preset promises.
        processes: Side by side; None is one a core.
        config_dir: A folder with further configuration.
        overrides: Overrides of every row's configuration, as typed.
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
