"""What the store already has of a command's work."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from l2l_cli.core.voice import VOICE
from l2l_cli.evaluation.contest import Unit
from l2l_cli.results.store import Store


def say_known(units: Sequence[Unit], store: Store, name: str) -> None:
    """Print how many units of a command are in the store; ``name`` is their name in the plural."""
    known = sum(unit.missing(store) == 0 for unit in units)
    VOICE.note(f"store: {known} of {len(units)} {name} known", sys.stderr)
