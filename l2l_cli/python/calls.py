"""Meta-training and reproduction from Python, by the same code as ``l2l meta-train`` and ``l2l reproduce``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from l2l_cli.commands.checks import check_reproduction
from l2l_cli.commands.reproduce import run as run_reproduction
from l2l_cli.config.own_task import key_of_word
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.config.words import artefacts_and_overrides
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries
from l2l_cli.papers.experiments import experiments
from l2l_cli.python.apart import apart
from l2l_cli.python.carrying import (
    Calling,
    carried_out,
    on_a_cluster,
    see_that_it_is_alone,
    see_that_they_are_words,
)
from l2l_cli.python.given import MODULE, GivenObjects
from l2l_cli.python.results import DryRun, Reproduction
from l2l_cli.python.trained import Run


def meta_train(
    *overrides: str,
    model: object = None,
    data: object = None,
    loss: object = None,
    config_dir: str | Path | None = None,
    force: bool = False,
    quiet: bool = True,
) -> Run:
    """Meta-train a learner, or find that this has been done, as ``l2l meta-train`` does.

        import l2l_cli as l2l
        run = l2l.meta_train("task=quadratic")
        run = l2l.meta_train("meta.updates=300", model=Net, data=batches)

    Ctrl-C saves the progress, and the same call continues from there.

    Args:
        overrides: Overrides as on the command line.
        model: Subclass of nn.Module, or function that returns a network; together with ``data`` it defines the task.
        data: Pair of tensors, Dataset, batches, function that returns one of these, or mapping of such by phase.
        loss: Function (outputs, targets) -> number; None is the cross-entropy of integer targets, or the squared error.
        config_dir: Folder with further configuration and Python modules, as for ``--config-dir``.
        force: Whether it runs again even if it is done.
        quiet: Whether nothing is printed.

    Raises:
        L2LError: As on the command line, with the same messages: a UsageError for an invalid configuration, a RunFailed
            for a training that cannot continue.
        KeyboardInterrupt: The user interrupted it.
    """
    manner = Calling.of(config_dir, force, quiet)
    given = _given(overrides, model, data, loss, manner)
    row = _meta_trained(overrides, given, manner, dry_run=False)
    run = Run(row["run"], trust=given.packages, config_dir=config_dir)
    run.given = given
    return run


def dry_run(
    *overrides: str,
    model: object = None,
    data: object = None,
    loss: object = None,
    config_dir: str | Path | None = None,
    quiet: bool = True,
) -> DryRun:
    """Describe what ``meta_train`` would do with these arguments, as ``l2l meta-train --dry-run``; train nothing.

    Everything is built and checked, an update and the beginning of a validation are timed, and nothing is written.

    Args:
        overrides: Overrides as on the command line.
        model: Network, as for ``meta_train``; the same holds for data and loss.
        data: Data.
        loss: Loss.
        config_dir: Folder with further configuration and Python modules.
        quiet: Whether nothing is printed.

    Raises:
        L2LError: As on the command line, with the same messages.
    """
    manner = Calling.of(config_dir, False, quiet)
    row = _meta_trained(overrides, _given(overrides, model, data, loss, manner), manner, dry_run=True)
    return DryRun(row["plan"], row["plan_seconds"], row["plan_bytes"])


def _given(overrides: Sequence[str], model: object, data: object, loss: object, manner: Calling) -> GivenObjects:
    """Return the objects that a program gives; a function that returns data is called here, as it is the user's code.

    Raises:
        L2LError: They do not form a task, or the user's code failed.
    """
    see_that_they_are_words(overrides)
    with apart(["meta-train", *overrides], manner.quiet):
        return GivenObjects.of(model, data, loss)


def _meta_trained(overrides: Sequence[str], given: GivenObjects, manner: Calling, dry_run: bool) -> Entries:
    """Carry out ``l2l meta-train`` with overrides and objects, and return its row.

    Raises:
        L2LError: As on the command line, with the same messages.
    """
    if given.names and (chosen := [word for word in overrides if key_of_word(word) == "task"]):
        raise UsageError(f"model= and data= are the task, {MODULE}; drop {' '.join(chosen)}")
    words = [*given.words, *overrides]
    flags: Entries = {"resume": None, "trust": [], "dry_run": dry_run}
    return carried_out("meta-train", words, words, flags, manner, given)


def reproduce(
    paper: str,
    *words: str,
    scale: str = "short",
    seeds: int | None = None,
    config_dir: str | Path | None = None,
    force: bool = False,
    quiet: bool = True,
) -> Reproduction:
    """Reproduce a paper's tables and figures, compared with the published numbers, as ``l2l reproduce`` does.

    Args:
        paper: Name of the paper.
        words: Names of artefacts, by default all; and overrides, such as "hardware.processes=2".
        scale: Scale: "smoke", "short", "study" or "paper".
        seeds: Number of seeds of each row; None means the scale's.
        config_dir: Folder with further configuration and Python modules.
        force: Whether all of it runs again even if it is done.
        quiet: Whether nothing is printed.

    Raises:
        L2LError: As on the command line, with the same messages.
        KeyboardInterrupt: The user interrupted it.
    """
    see_that_they_are_words((paper, *words, scale))
    if seeds is not None and (isinstance(seeds, bool) or not isinstance(seeds, int)):
        raise UsageError(f"seeds={seeds!r} is a {type(seeds).__name__}; it is a whole number, the number of seeds")
    folder = None if config_dir is None else str(config_dir)
    flags = {"--scale": scale, "--seeds": seeds, "--config-dir": folder}
    given = [str(part) for name, value in flags.items() if value is not None for part in (name, value)]
    with apart(["reproduce", paper, *words, *given], quiet):
        see_that_it_is_alone("reproduce")
        artefacts, overrides = map(tuple, artefacts_and_overrides(paper, words, scale, folder))
        request = ReproduceRequest(paper, artefacts, scale, seeds, config_dir=folder, overrides=overrides, force=force)
        check_reproduction(request)
        if any(one.hardware.cluster for each in experiments(request) for one in each.configurations.values()):
            raise on_a_cluster("reproduce")
        return Reproduction(run_reproduction(request).path)
