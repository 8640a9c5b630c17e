"""What a user is told when something fails."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from l2l_cli import __version__


def trimmed_traceback() -> str:
    """Return the current exception with only the frames of this program and of the user's code."""
    error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
    assert error is not None
    shown = traceback.TracebackException.from_exception(error)
    kept = [frame for frame in shown.stack if _is_ours(frame.filename)]
    lines = [f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}" for frame in kept]
    return "\n".join([f"l2l {__version__} failed: {type(error).__name__}: {error}", *lines])


def _is_ours(filename: str) -> bool:
    """Return whether a frame is this program's, wherever it is installed, or the user's."""
    libraries = ("site-packages", "lib/python", "<frozen ")
    return filename.startswith(str(Path(__file__).parents[1])) or not any(place in filename for place in libraries)
