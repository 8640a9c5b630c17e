"""l2l meta-train: resumable meta-training of a learner's φ into a run folder."""

from __future__ import annotations

import sys
from pathlib import Path

from l2l_cli.commands.next_words import after
from l2l_cli.config.compose import settings_of_run
from l2l_cli.config.own_task import key_of_word
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Entries
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.core.printable import counted
from l2l_cli.core.ranges import shown
from l2l_cli.core.voice import VOICE
from l2l_cli.parallel.launched import launched
from l2l_cli.results.exported import check_target
from l2l_cli.results.facts import TRAINED
from l2l_cli.results.run import RunFolder
from l2l_cli.runs.aside import settled
from l2l_cli.runs.folders import check_configuration, done_before, is_done
from l2l_cli.runs.logging import log_what_is_done

OF_THE_PRESENT = ("hardware", "data", "store", "logger")
"""Parts of the settings that a resumed run takes from the command line."""


def run(
    settings: Settings,
    resume: str | None = None,
    trust: list[str] | None = None,
    dry_run: bool = False,
    export: str | None = None,
    licence: str | None = None,
) -> Entries:
    """Run the command and return the run's row in a sweep's summary.

    Args:
        settings: Its configuration.
        resume: Folder of a run to continue with its own settings.
        trust: Packages whose classes that run's configuration may name.
        dry_run: Whether to describe what would be done instead of doing it.
        export: File that the finished run is exported to.
        licence: Licence of the weights in the exported file.
    """
    if export is not None:
        check_target(Path(export))
    if dry_run:
        return _dry(settings)
    if (place := launched()) and place.rank > 0:
        from l2l_cli.runs.following import follow_the_first

        follow_the_first()
        return {}
    folder = _again(settings) if resume is None else _resumed(settings, resume, trust or [])
    folder = settled(folder, settings)
    facts = folder.facts(TRAINED)
    print(f"run: {folder.path}")
    if "chosen" in facts:
        print(f"search: {shown(facts['chosen'])}, best of {counted(len(facts['search']), 'trial')}")
    print(
        f"best validation loss ({facts.get('criterion', settings.meta.criterion)}): {facts['best_validation']:.6g} "
        f"after {counted(facts['updates'], 'update')}, {facts['skipped']} skipped, {facts['seconds']:.0f} s"
    )
    for line in facts.get("closing", []):  # runs of earlier versions have none
        print(in_one_line(str(line)))
    if export is not None:
        from l2l_cli.runs.exporting import export as write

        own = None if resume is None else trust or []  # what the user typed may name any class
        print(f"exported: {write(folder.path, export, licence, own)}")
    VOICE.suggest(*after(folder.path))
    return row_of(folder)


def row_of(folder: RunFolder) -> Entries:
    """Return the row of a finished run in a sweep's summary."""
    facts = folder.facts(TRAINED)
    return {
        "objective": "best_validation",
        "best_validation": facts["best_validation"],
        "updates": facts["updates"],
        "skipped": facts["skipped"],
        "seconds": facts["seconds"],
        "course": facts.get("course", {}).get("verdict", ""),  # runs of earlier versions have neither
        "ratio_to_untuned": facts.get("beside", {}).get("ratio") or "",
        "run": str(folder.path),
    }


# torch is imported within these functions, so that reusing or refusing work does not wait for it.


def _dry(settings: Settings) -> Entries:
    """Build and check everything, print the plan, and return it with its seconds and bytes.

    Raises:
        UsageError: See ``planned``; or a launcher has started several processes.
    """
    if launched() is not None:
        raise UsageError("--dry-run plans in one process; run it without the launcher")
    from l2l_cli.runs.planning import planned

    plan = planned(settings)
    print("dry run: everything is built and checked; nothing is trained or written")
    for name, text in plan.lines:
        print(f"  {name:9}{text}")
    VOICE.event("plan", **dict(plan.lines))
    VOICE.suggest(*(word for word in sys.argv[1:] if word != "--dry-run"))
    return {"plan": plan.lines, "plan_seconds": plan.seconds, "plan_bytes": plan.memory}


def _again(settings: Settings) -> RunFolder:
    """Find an earlier meta-training of a configuration, or run it."""
    if launched() is None and (folder := done_before(settings)):  # other ranks wait for this one
        return _reused(folder, settings)
    from l2l_cli.runs.training import train

    return train(settings)


def _resumed(settings: Settings, resume: str, trust: list[str]) -> RunFolder:
    """Continue a run with the hardware, data, store and logger of these settings."""
    changes = [item for item in settings.overrides if key_of_word(item).split(".")[0] not in OF_THE_PRESENT]
    if changes:
        raise UsageError(f"--resume keeps the run's own settings; drop {' '.join(changes)}")
    folder = RunFolder.load(Path(resume))
    saved = settings_of_run(folder.config(), settings)
    check_configuration(folder)
    if launched() is None and is_done(folder):
        return _reused(folder, settings)
    from l2l_cli.config.build import Builder
    from l2l_cli.runs.training import train

    return train(saved, Builder(trust), folder)


def _reused(folder: RunFolder, settings: Settings) -> RunFolder:
    """Report that a run is done, and let a logger that has not recorded it yet do so."""
    log_what_is_done(folder, settings)
    VOICE.note(f"already done, reused: {folder.path}")
    return folder
