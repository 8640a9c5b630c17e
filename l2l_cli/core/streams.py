"""Standard output and error that survive closed pipes, full disks and narrow encodings, so that no result is lost."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from contextlib import suppress

PLAIN = {
    "…": "...",
    "×": "x",
    "−": "-",
    "–": "-",
    "—": "-",
    "±": "+-",
    "·": "*",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "→": "->",
    "√": "sqrt",
    "∞": "inf",
    "φ": "phi",
    "θ": "theta",
    "ε": "epsilon",
    "σ": "sigma",
    "β": "beta",
    "λ": "lambda",
    "∇": "grad",
    "‖": "|",
}
"""ASCII replacements of the characters that this program prints."""

TRANSLITERATE = "l2l.transliterate"
"""Name of the error handler for characters that an encoding lacks."""


class _Lasting(io.FileIO):
    """A file that discards what is written once its reader has gone or its disk is full."""

    lost: OSError | None = None

    def write(self, data: object, /) -> int:
        """Write the data; after an error, discard them and all that follow."""
        content = memoryview(data).cast("B")  # type: ignore[arg-type]
        try:
            return super().write(content) or 0
        except OSError as error:
            self.lost = error
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())
            os.close(nothing)
            return len(content)


def protect() -> None:
    """Protect the process's own output; streams that Python code has captured or redirected stay as they are."""
    codecs.register_error(TRANSLITERATE, _transliterated)
    for number in range(3):  # the next file to be opened would get the number of a closed one
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _lasting(sys.stdout, sys.__stdout__, 1)
    sys.stderr = _lasting(sys.stderr, sys.__stderr__, 2)


def lost_output() -> str:
    """Return why output could not be written; empty if it could, or if its reader merely closed the pipe."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = raw.lost if isinstance(raw, _Lasting) else None
    return "" if lost is None or isinstance(lost, BrokenPipeError) else str(lost.strerror)


def stream_on(number: int) -> io.TextIOWrapper:
    """Return a line-buffered stream on a file descriptor that outlasts its reader; the descriptor stays open."""
    return io.TextIOWrapper(io.BufferedWriter(_Lasting(number, "wb", closefd=False)), "utf-8", line_buffering=True)


def lost_in(stream: object, own: object) -> None:
    """Record what one stream has lost as lost by another one, if both are of this module."""
    one, other = (getattr(getattr(each, "buffer", None), "raw", None) for each in (stream, own))
    if isinstance(one, _Lasting) and isinstance(other, _Lasting):
        other.lost = other.lost or one.lost


def _lasting(stream: object, own: object, number: int) -> io.TextIOWrapper:
    if stream is not own or (stream is not None and not isinstance(stream, io.TextIOWrapper)):
        return stream  # type: ignore[return-value]
    encoding = stream.encoding if isinstance(stream, io.TextIOWrapper) else "utf-8"
    if isinstance(stream, io.TextIOWrapper):
        stream.flush()
    raw = _Lasting(number, "wb", closefd=False)
    lines = raw.isatty() or number == 2
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, TRANSLITERATE, line_buffering=lines)


def _transliterated(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(_plain(sign) for sign in part), error.end


def _plain(sign: str) -> str:
    if sign in PLAIN:
        return PLAIN[sign]
    return unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode() or "?"
