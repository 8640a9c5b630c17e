"""What the store knows of a command's work before it begins."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from l2l_cli.core.voice import VOICE
from l2l_cli.evaluation.contest import Unit
from l2l_cli.results.store import Store


def say_known(units: Sequence[Unit], store: Store, name: str) -> None:
    """Say how many units of a command are known; ``name`` is what they are called there, in the plural."""
    known = sum(unit.missing(store) == 0 for unit in units)
    VOICE.note(f"store: {known} of {len(units)} {name} known", sys.stderr)
