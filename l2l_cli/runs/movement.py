"""Messages about a training whose meta-gradient is zero, or whose φ does not move."""

from __future__ import annotations

from l2l_cli.config.schema import Settings
from l2l_cli.core.printable import counted
from l2l_cli.meta.training import Training, Validation

ZERO_GRADIENT = (
    "the meta-gradient is exactly zero: the loss depends on φ only through step functions, such as sign, round or a "
    "comparison, or not at all; see `--dry-run`, or use gradient=es"
)


def standstill(record: Validation) -> str | None:
    """Return what is wrong with the updates before a validation, as one line; None if φ moves."""
    if record.norm == 0.0:
        return f"update {record.number}: {ZERO_GRADIENT}"
    if record.distance == 0.0:
        return f"update {record.number}: φ has not moved from φ_0; see optimizer.lr, meta.warmup and meta.floor"
    return None


def never_moved(training: Training, settings: Settings) -> str | None:
    """Return why a finished training has trained nothing; None if φ has moved, or the user chose a rate of 0."""
    if training.distance() > 0.0 or settings.optimizer.get("lr") == 0:
        return None
    if training.skipped == training.number:
        return f"φ never moved: all {training.number} updates were skipped for a non-finite loss or meta-gradient"
    why = ZERO_GRADIENT if training.norm == 0.0 else "see optimizer.lr, meta.warmup and meta.floor"
    return f"φ never moved in {counted(training.number, 'update')}: {why}"
