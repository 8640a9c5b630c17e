"""How a run's folder learns that its run has failed or was interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from l2l_cli.core.errors import L2LError
from l2l_cli.core.failures import failure_of
from l2l_cli.results.run import RunFolder


@contextmanager
def ending(*folders: RunFolder, **facts: object) -> Iterator[None]:
    """Note in run folders how what is done within fails, with its reason, if the disk still takes that.

    Args:
        folders: Folders that were begun.
        facts: Further entries of run.json.

    Raises:
        L2LError: What was done failed; see ``failure_of``.
    """
    try:
        yield
    except KeyboardInterrupt:
        _note(folders, "interrupted", facts)
        raise
    except Exception as error:
        raise failed(error, *folders, **facts) from error


def failed(error: Exception, *folders: RunFolder, **facts: object) -> L2LError:
    """Note a failure and further facts in run folders, and return what a user is told of it."""
    failure = failure_of(error, folders[0].path)
    _note(folders, "failed", {"message": str(failure), **facts})
    return failure


def _note(folders: tuple[RunFolder, ...], status: str, facts: dict[str, object]) -> None:
    for folder in folders:
        with suppress(OSError, L2LError):  # of a full disk or a folder that is gone: the user hears of it anyway
            folder.end(status, **facts)
