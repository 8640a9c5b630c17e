"""The part of a training that ranks other than the first carry out: they compute, but write and print nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from l2l_cli.config.build import Builder
from l2l_cli.config.compose import search_path
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import RunFailed
from l2l_cli.core.stop import STOP, Stopped
from l2l_cli.meta.training import Training, Update
from l2l_cli.parallel.attendance import RankLost
from l2l_cli.parallel.launched import launched, say
from l2l_cli.parallel.ranks import Ranks
from l2l_cli.runs.building import prepare
from l2l_cli.runs.making import training_of
from l2l_cli.runs.vetting import checked_by_another


@dataclass(frozen=True)
class Follow:
    """A training that the other ranks are to carry out in step with the first.

    Attributes:
        settings: Whole configuration.
        trust: Packages whose classes the configuration may name; None means any.
        saved: Checkpoint from which the training continues, if there is one.
        saves: Whether the first rank writes checkpoints, to which all ranks contribute.
    """

    settings: Settings
    trust: Sequence[str] | None
    saved: Mapping[str, Tensor] | None
    saves: bool

    def __call__(self, ranks: Ranks) -> None:
        """Carry out this rank's part."""
        search_path(self.settings.config_dir)
        prepare(self.settings.hardware, ranks.local_rank)
        with checked_by_another():
            training = training_of(self.settings, Builder(self.trust), ranks)
        if self.saved is not None:
            training.restore(self.saved)
        try:
            self._go_on(training, ranks)
        except RunFailed:  # the first rank fails, too, and reports it
            return

    def _go_on(self, training: Training, ranks: Ranks) -> None:
        with STOP.held():
            for record in training.records():
                if self.saves and isinstance(record, Update) and saves_after(training, ranks):
                    training.checkpoint()
                if ranks.agreed.stop:
                    raise Stopped


def saves_after(training: Training, ranks: Ranks) -> bool:
    """Return whether the ranks write a checkpoint after an update.

    They also do so before a validation, since a request to stop during it may leave no other chance.
    """
    return ranks.agreed.stop or ranks.agreed.save or training.owes_validation


def follow_the_first() -> None:
    """Carry out this rank's part of the first rank's work, in a process that a launcher has started."""
    place = launched()
    assert place is not None
    ranks = Ranks(place, local=False)
    try:
        with ranks:
            ranks.follow()
    except RankLost as error:
        if ranks.speaks:
            say(f"error: {error}")
        raise
