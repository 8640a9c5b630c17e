"""Meta-training and reproducing from Python, by the same code as ``l2l meta-train`` and ``l2l reproduce``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from l2l_cli.commands.checks import check_reproduction
from l2l_cli.commands.reproduce import run as run_reproduction
from l2l_cli.config.own_task import key_of_word
from l2l_cli.config.schema import ReproduceRequest
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
    """Meta-train a learner, or find that it has been, as ``l2l meta-train`` does.

        import l2l_cli as l2l
        run = l2l.meta_train("task=quadratic")
        run = l2l.meta_train("meta.updates=300", model=Net, data=batches)

    Ctrl-C saves what was done, and the same call goes on from there.

    Args:
        overrides: Overrides as on the command line.
        model: Class of nn.Module, or a function that makes a network, to be the task with the data.
        data: Pair of tensors, a Dataset, batches, a function that returns one of these, or a mapping of such by phase.
        loss: Function (outputs, targets) -> number; None is the cross-entropy of whole targets, else the squared error.
        config_dir: Folder with further configuration and Python modules, as ``--config-dir``.
        force: Whether it runs again although it is done.
        quiet: Whether nothing is printed.

    Raises:
        L2LError: As on the command line, in the same words: a UsageError for a wrong configuration, a RunFailed for a
            training that cannot go on.
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
    """Say what ``meta_train`` of the same would be and take, as ``l2l meta-train --dry-run`` does; train nothing.

    Everything is built and checked, an update and the beginning of a validation are timed, and nothing is written.

    Args:
        overrides: Overrides as on the command line.
        model: Network, as of ``meta_train``; likewise data and loss.
        data: Data.
        loss: Loss.
        config_dir: Folder with further configuration and Python modules.
        quiet: Whether nothing is printed.

    Raises:
        L2LError: As on the command line, in the same words.
    """
    manner = Calling.of(config_dir, False, quiet)
    row = _meta_trained(overrides, _given(overrides, model, data, loss, manner), manner, dry_run=True)
    return DryRun(row["plan"], row["plan_seconds"], row["plan_bytes"])


def _given(overrides: Sequence[str], model: object, data: object, loss: object, manner: Calling) -> GivenObjects:
    """Return what a program gives as objects; a function that returns data is the user's code, and is called here.

    Raises:
        L2LError: They are no task; or the user's code failed.
    """
    see_that_they_are_words(overrides)
    with apart(["meta-train", *overrides], manner.quiet):
        return GivenObjects.of(model, data, loss)


def _meta_trained(overrides: Sequence[str], given: GivenObjects, manner: Calling, dry_run: bool) -> Entries:
    """Carry out ``l2l meta-train`` on overrides and objects, and return its row.

    Raises:
        L2LError: As on the command line, in the same words.
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
    """Run a paper's tables and figures beside the published numbers, as ``l2l reproduce`` does.

    Args:
        paper: Name of the paper.
        words: Names of artefacts, by default all; and overrides, as "hardware.processes=2".
        scale: Scale: "smoke", "short", "study" or "paper".
        seeds: Number of seeds of each row; None is the scale's.
        config_dir: Folder with further configuration and Python modules.
        force: Whether all of it runs again although it is done.
        quiet: Whether nothing is printed.

    Raises:
        L2LError: As on the command line, in the same words.
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
