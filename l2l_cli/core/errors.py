"""Errors a user can act on; each knows the exit code of the command that it ends."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from l2l_cli.core.printable import printable


class L2LError(Exception):
    """An error that is explained in one line: what was asked, what exists, what to do next."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message without unprintable characters."""
        return printable(super().__str__())


class UsageError(L2LError):
    """Wrong usage or configuration."""

    exit_code = 2


class RunFailed(L2LError):
    """A run cannot continue."""


class PromiseBroken(L2LError):
    """``reproduce --check`` found a number outside what the preset promises."""

    exit_code = 3


def did_you_mean(asked: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'adam'?" for the nearest known word, or nothing."""
    nearest = difflib.get_close_matches(asked, list(known), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
