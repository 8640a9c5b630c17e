"""A finished run in a Python program, and its scores on fresh episodes, alone and compared with others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from l2l_cli.config.build import Builder
from l2l_cli.config.classes import add_folder
from l2l_cli.config.schema import Settings
from l2l_cli.config.words import contenders_and_overrides, run_and_overrides
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries
from l2l_cli.core.printable import counted
from l2l_cli.core.reference import giving
from l2l_cli.core.suffixes import PRETRAINED, is_exported
from l2l_cli.learners.base import Learner
from l2l_cli.python.apart import apart, warn
from l2l_cli.python.carrying import Calling, carried_out, see_that_they_are_words
from l2l_cli.python.given import GivenObjects
from l2l_cli.python.html import page
from l2l_cli.python.results import Scored
from l2l_cli.results.facts import TRAINED
from l2l_cli.results.metrics import MetricsFile
from l2l_cli.results.run import METRICS
from l2l_cli.runs.building import build_task
from l2l_cli.runs.exporting import export
from l2l_cli.runs.folders import load_run
from l2l_cli.runs.loading import load_learner


class Run:
    """A finished meta-training, opened from its folder or from a file that it was exported to.

    Args:
        path: Folder, file, or the name of a rule that comes with l2l, such as "pretrained:digits".
        trust: Packages besides l2l_cli whose classes the run may name.
        config_dir: Folder with the modules of these classes.
        model: Network that the run was trained on, if a Python program gave it; the same holds for data and loss.
        data: Data.
        loss: Loss.

    Attributes:
        path: Its folder or file, or the name of a rule that comes with l2l.
        config_dir: Folder that it was opened with.
        trust: Packages that it may name.
        given: Objects that its configuration names.

    Raises:
        L2LError: It is not a finished run, or is damaged; it was trained without an object that is given; or a function
            that returns its data failed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        trust: Sequence[str] = (),
        config_dir: str | Path | None = None,
        model: object = None,
        data: object = None,
        loss: object = None,
    ) -> None:
        if not isinstance(path, str | os.PathLike):
            raise UsageError(
                f"{path!r} is a {type(path).__name__}; name a run's folder, or the file of an exported one"
            )
        self.path = Path(path) if os.fspath(path).startswith(PRETRAINED) else Path(path).resolve()
        self.config_dir = config_dir
        with apart(["evaluate", str(self.path)], quiet=True):
            given = GivenObjects.of(model, data, loss)
            self.trust = [*trust, *given.packages]
            self._run, self._saved = load_run(str(self.path), Settings())
            self.given, others = given.for_run(self._saved.task)
        for key in others:
            warn(
                f"{key} is not what {self.path} was trained on, or was compiled by another version of Python; it is "
                "scored by the present one"
            )

    @property
    def facts(self) -> Entries:
        """Entries of run.json: updates, validation loss, seconds, versions, commit."""
        return self._run.facts(TRAINED)

    @property
    def config(self) -> Entries:
        """The configuration that determined the training."""
        return self._run.config()

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """All measurements during training, one per row: metrics.csv.

        Raises:
            UsageError: The run is an exported file, which does not contain them.
        """
        if is_exported(self.path):
            raise UsageError(f"{self.path} is an exported file; the metrics are in the folder of its run")
        return MetricsFile(self.path / METRICS).read()

    @cached_property
    def learner(self) -> Learner[Any]:
        """The meta-trained learner, for the task that it was trained on.

        Raises:
            UsageError: One of its classes must be trusted first, or an object given again; or the run is damaged.
        """
        builder = Builder(self.trust)
        with self._at_home(["evaluate", str(self.path)]):
            return load_learner(self._run, self._saved, build_task(self._saved, builder), builder)

    def evaluate(self, *overrides: str, force: bool = False, quiet: bool = True) -> Scored:
        """Score the learner on fresh episodes; see ``evaluate``."""
        return evaluate(self, *overrides, force=force, quiet=quiet)

    def compare(self, *others: str | Path | Run | type, force: bool = False, quiet: bool = True) -> Scored:
        """Compare the learner with others; see ``compare``."""
        return compare(self, *others, force=force, quiet=quiet)

    def export(self, file: str | Path, licence: str | None = None) -> Path:
        """Export the run to one file, with a card, that later versions can read; see ``l2l_cli.export``."""
        with self._at_home(["meta-train", "--export", str(file)]):
            return export(self.path, file, licence, self.trust)

    @contextmanager
    def _at_home(self, words: Sequence[str]) -> Iterator[None]:
        """Make the modules and objects that its configuration names available; ``words`` are for records."""
        with apart(words, quiet=True), giving(self.given.objects):
            if self.config_dir is not None:
                add_folder(Path(self.config_dir).resolve())
            yield

    def __fspath__(self) -> str:
        """Return its path, so that a run can be used wherever a path can, as in ``load_optimizer(run, …)``."""
        return str(self.path)

    def __repr__(self) -> str:
        """Return what was trained, and how well it performs."""
        return f"Run: {self._title}, {self._validation} ({self.path})"

    def _repr_html_(self) -> str:
        facts = self.facts
        rows = {
            "updates": facts["updates"],
            "skipped": facts["skipped"],
            "meta-parameters": facts["meta_parameters"],
            f"best validation loss ({facts.get('criterion', self._saved.meta.criterion)})": facts["best_validation"],
            "seconds": facts["seconds"],
        }
        return page(self._title, [*map(str, facts.get("closing", [])), f"run: {self.path}"], pd.DataFrame([rows]))

    @property
    def _title(self) -> str:
        return f"{self._saved.choices['learner']} on {self._saved.choices['task']}"

    @property
    def _validation(self) -> str:
        facts = self.facts
        return f"best validation loss {facts['best_validation']:.4g} after {counted(facts['updates'], 'update')}"


def evaluate(
    run: Run | str | os.PathLike[str],
    *overrides: str,
    trust: Sequence[str] = (),
    config_dir: str | Path | None = None,
    force: bool = False,
    quiet: bool = True,
) -> Scored:
    """Score a run on fresh episodes, longer horizons, another task or a grid of tasks, as ``l2l evaluate`` does.

    Args:
        run: Run, its folder, or the file that it was exported to.
        overrides: Overrides as on the command line, such as "evaluation.episodes=64".
        trust: Packages besides l2l_cli whose classes the run may name, in addition to those trusted by the run.
        config_dir: Folder with further configuration and Python modules; None means the run's own.
        force: Whether it runs again even if it is done.
        quiet: Whether nothing is printed.

    Raises:
        L2LError: As on the command line, with the same messages.
    """
    see_that_they_are_words(overrides)
    opened = run if isinstance(run, Run) else Run(run, trust=trust, config_dir=config_dir)
    words, _ = run_and_overrides(overrides, str(opened.path))
    flags = {"run_folder": str(opened.path), "trust": [*trust, *opened.trust]}
    manner = Calling.of(opened.config_dir if config_dir is None else config_dir, force, quiet)
    row = carried_out("evaluate", [str(opened.path), *words], words, flags, manner, opened.given)
    return Scored(row["run"])


def compare(
    *contenders: str | Path | Run | type,
    trust: Sequence[str] = (),
    config_dir: str | Path | None = None,
    force: bool = False,
    quiet: bool = True,
) -> Scored:
    """Compare runs and tuned hand-made learners on the same episodes, as ``l2l compare`` does.

    Args:
        contenders: Runs, or their folders or files; names of learners; classes of torch.optim.Optimizer; and overrides
            as on the command line, such as "task=quadratic".
        trust: Packages besides l2l_cli whose classes runs may name, in addition to those trusted by each run.
        config_dir: Folder with further configuration and Python modules; None means that of the first run that has one.
        force: Whether it runs again even if it is done.
        quiet: Whether nothing is printed.

    Raises:
        L2LError: As on the command line, with the same messages.
    """
    own = [one for one in contenders if isinstance(one, Run)]
    folders = [one.config_dir for one in own if one.config_dir is not None] if config_dir is None else [config_dir]
    manner = Calling.of(folders[0] if folders else None, force, quiet)
    words = [_word_of(one) for one in contenders]
    overrides, learners, runs = contenders_and_overrides(words, manner.config_dir)
    flags = {"learners": learners, "runs": runs, "trust": [*trust, *(name for one in own for name in one.trust)]}
    given = GivenObjects(objects={name: found for one in own for name, found in one.given.objects.items()})
    return Scored(carried_out("compare", words, overrides, flags, manner, given)["run"])


def _word_of(contender: str | Path | Run | type) -> str:
    """Return a contender as the command line names it.

    Raises:
        UsageError: It is not something that can be compared.
    """
    match contender:
        case str():
            return contender
        case Path():
            return str(contender)
        case Run():
            return str(contender.path)
        case type() if issubclass(contender, torch.optim.Optimizer):
            known = vars(torch.optim).get(contender.__name__) is contender
            return f"{'torch.optim' if known else contender.__module__}.{contender.__qualname__}"
    raise UsageError(
        f"{contender!r} is a {type(contender).__name__}; contenders are runs, names of learners and classes of "
        "torch.optim.Optimizer"
    )
