"""Pieces of a command that are carried out separately: in processes on this machine, or as jobs of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from l2l_cli.core.errors import L2LError
from l2l_cli.core.failures import failure_of
from l2l_cli.core.layout import PROGRESS
from l2l_cli.core.printable import counted
from l2l_cli.parallel.pool import Assignment, carry_out
from l2l_cli.results.run import identity
from l2l_cli.runs.progress import Relay, Reporter
from l2l_cli.runs.progress_files import ProgressFile, Stand, stands_of


@dataclass(frozen=True)
class Piece:
    """A piece of work; once it has been carried out, running it again has nothing left to do.

    Attributes:
        name: Name of the piece in messages.
        key: Text that distinguishes it from the other pieces of its command.
        seconds: Expected time on one core.
        work: Picklable function that carries it out, and reports which part of the expected seconds is done.
    """

    name: str
    key: str
    seconds: float
    work: Callable[[Relay], object]


@dataclass(frozen=True)
class Carrying:
    """A piece in progress, and the file that records its progress; a picklable callable."""

    piece: Piece
    path: Path

    @classmethod
    def of(cls, piece: Piece, folder: Path) -> Carrying:
        """Return the object that carries out a piece of the command whose folder is given."""
        return cls(piece, folder / PROGRESS / f"{identity({'piece': piece.key})}.json")

    def __call__(self) -> None:
        """Carry the piece out."""
        progress = ProgressFile(self.path, self.piece.name, self.piece.seconds)
        try:
            self.piece.work(progress.tell)
        except KeyboardInterrupt:
            progress.say("stopped", "continues with the same command")
            raise
        except Exception as error:
            failure = failure_of(error)
            with suppress(OSError):  # of a full disk: whoever waits for this piece sees the error anyway
                progress.say("failed", str(failure))
            raise failure from error
        progress.say("done", "")


def carry_out_here(pieces: Sequence[Piece], folder: Path, processes: int, title: str) -> dict[str, L2LError]:
    """Carry out pieces in up to ``processes`` processes of this machine, and show their progress.

    Returns:
        The errors of the pieces that failed, by name; a failure does not affect the other pieces.

    Raises:
        UsageError: A piece rejects its configuration.
        KeyboardInterrupt: There was a request to stop; everything is saved.
    """
    carried = [Carrying.of(piece, folder) for piece in pieces]
    for one in carried:
        one.path.unlink(missing_ok=True)
    failures: dict[str, L2LError] = {}
    with Reporter(title, sum(piece.seconds for piece in pieces), unit="") as reporter:
        shown = _Shown(reporter, carried)

        def ended(index: int, error: L2LError | None) -> None:
            piece = pieces[index]
            if error is None:
                reporter.say(f"done: {piece.name}")
                return
            failures[piece.name] = error
            reporter.say(f"failed: {error}")

        tasks = [Assignment(one.piece.name, one) for one in carried]
        carry_out(tasks, min(processes, len(tasks)), shown.look, ended)
    return failures


class _Shown:
    """The part of the pieces' progress that the reporter has shown so far."""

    def __init__(self, reporter: Reporter, carried: Sequence[Carrying]) -> None:
        self._reporter, self._paths = reporter, {one.piece.key: one.path for one in carried}
        self._done, self._total = 0.0, sum(one.piece.seconds for one in carried)
        self._seconds = {one.piece.key: one.piece.seconds for one in carried}
        self._latest: Stand | None = None

    def look(self) -> None:
        """Show progress made since the last call."""
        stands = stands_of(self._paths)
        done = sum(stand.total if stand.state == "done" else stand.done for stand in stands.values())
        total = sum(stands[key].total if key in stands else seconds for key, seconds in self._seconds.items())
        latest = max(stands.values(), key=lambda stand: stand.when, default=None)
        # Show it even if nothing was counted: the rest may take longer than expected, and must not look dead.
        if latest is not None and (done, total, latest) != (self._done, self._total, self._latest):
            ended = sum(stand.state == "done" for stand in stands.values())
            self._reporter.drop(self._total - total)
            note = " · ".join(filter(None, [f"{ended} of {counted(len(self._paths), 'run')} done", latest.note]))
            self._reporter.advance(note, done - self._done)
            self._done, self._total, self._latest = done, total, latest
