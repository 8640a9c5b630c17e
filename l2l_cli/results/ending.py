"""Recording in run folders that a run has failed or was interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from l2l_cli.core.errors import L2LError
from l2l_cli.core.failures import failure_of
from l2l_cli.results.run import RunFolder


@contextmanager
def ending(*folders: RunFolder, **facts: object) -> Iterator[None]:
    """Record in run folders that the body of a ``with`` statement fails or is interrupted, if the disk permits.

    Args:
        folders: Folders of runs that have begun.
        facts: Further entries of run.json.

    Raises:
        L2LError: The body failed; see ``failure_of``.
    """
    try:
        yield
    except KeyboardInterrupt:
        _note(folders, "interrupted", facts)
        raise
    except Exception as error:
        raise failed(error, *folders, **facts) from error


def failed(error: Exception, *folders: RunFolder, **facts: object) -> L2LError:
    """Record a failure and further facts in run folders, and return the error that a user is shown."""
    failure = failure_of(error, folders[0].path)
    _note(folders, "failed", {"message": str(failure), **facts})
    return failure


def _note(folders: tuple[RunFolder, ...], status: str, facts: dict[str, object]) -> None:
    for folder in folders:
        with suppress(OSError, L2LError):  # a full disk, or a missing folder: the user is told of the failure anyway
            folder.end(status, **facts)
