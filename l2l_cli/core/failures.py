"""Messages about failures: one line for each failure that a user, a disk or a network can cause."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Sequence
from pathlib import Path
from traceback import FrameSummary

from l2l_cli import __version__
from l2l_cli.core.errors import L2LError, RunFailed
from l2l_cli.core.places import is_ours, is_users

GOES_ON = "repeat the command: it continues from the last checkpoint"

NO_PERMISSION = "change its permissions (`ls -ld` shows them), or choose another folder by output=…"

REPORT = "this is a fault of l2l: please report it with the command and the lines above"

DISK = {
    errno.ENOSPC: f"free space and {GOES_ON}",
    errno.EDQUOT: f"free space and {GOES_ON}",
    errno.EFBIG: f"the file would exceed the limit on file sizes (`ulimit -f`); raise the limit and {GOES_ON}",
    errno.EROFS: "it lies on a read-only file system; choose another folder, as in output=/tmp/outputs",
    errno.EACCES: NO_PERMISSION,
    errno.EPERM: NO_PERMISSION,
    errno.ENOENT: "it or its folder was removed; repeat the command, which creates what it needs",
    errno.EIO: f"the disk is failing: see the system's log, or choose another folder by output=…, and {GOES_ON}",
    errno.ESTALE: f"the file server has lost it; {GOES_ON}",
    errno.EMFILE: f"raise the limit (`ulimit -n 4096`) or lower hardware.processes, and {GOES_ON}",
    errno.ENFILE: f"this machine has reached its limit; {GOES_ON}",
    errno.ENAMETOOLONG: "shorten name=… or output=…",
    errno.ENOTDIR: "a part of that path is a file, not a folder; choose another folder by output=…",
    errno.EISDIR: "it is a folder, where a file should be; move it away",
    errno.EEXIST: "it is a file, where a folder should be; move it away, or choose another folder by output=…",
    errno.ELOOP: "its links form a circle; repair them, or choose another folder by output=…",
    errno.EAGAIN: "the system has no room for another process; lower hardware.processes or hardware.threads",
}
"""Advice on what to do next, by ``errno``."""

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "cudaerrormemoryallocation")
"""Parts of torch's out-of-memory messages, in lower case."""

SMALLER = (
    "use fewer episodes at a time (gradient.episodes, meta.validation_episodes, evaluation.chunk) or a shorter "
    "gradient.window"
)


class UnforeseenError(RunFailed):
    """A bug in this program, reported with those lines of the program that led to it."""


def failure_of(error: BaseException, place: str | Path | None = None) -> L2LError:
    """Return the error to show to a user: the error itself if it is meant for users, otherwise one that explains it.

    ``place`` is the file or folder in use, for errors that name none, such as a failed write to a full disk.
    """
    if isinstance(error, L2LError):
        return error
    if line := expected(error, place):
        return RunFailed(line)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = users_frames(frames)
    if theirs or isinstance(error, SyntaxError | ImportError):
        return RunFailed(_of_the_user(error, theirs))
    shown = [_line(frame) for frame in frames if is_ours(frame.filename)]
    return UnforeseenError("\n".join([f"l2l {__version__} failed: {_named(error)}", *shown, REPORT]))


def users_frames(frames: Sequence[FrameSummary]) -> list[FrameSummary]:
    """Return the stack frames of user code that this program has called; its own callers do not count."""
    first = next((index for index, frame in enumerate(frames) if is_ours(frame.filename)), len(frames))
    return [frame for frame in frames[first:] if is_users(frame.filename)]


def expected(error: BaseException, place: str | Path | None = None) -> str:
    """Return the message for an error that any program can meet; empty for other errors."""
    text = " ".join(str(error).split())
    full = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if full or any(word in text.lower() for word in OUT_OF_MEMORY):
        return f"out of memory{f' ({_short(text)})' if text else ''}; {SMALLER}"
    if "can't start new thread" in text:
        return "the system has no room for another thread; lower hardware.threads or hardware.processes (`ulimit -u`)"
    if isinstance(error, UnicodeEncodeError) and "surrogates not allowed" in text:
        return f"the name {error.object!r} is not valid in this system's encoding; rename the file or folder"
    if isinstance(error, ConnectionError | TimeoutError) and not getattr(error, "filename", None):
        return f"the connection broke ({text or type(error).__name__}); repeat the command: what is done is kept"
    if isinstance(error, OSError) and error.errno is not None:
        return _of_the_disk(error, place)
    return ""


def _of_the_disk(error: OSError, place: str | Path | None) -> str:
    file = error.filename if error.filename2 is None else error.filename2
    file = place if file is None else file
    name = f"{_printable(file)}: " if file is not None else ""
    reason = error.strerror or type(error).__name__
    return f"{name}{reason}; {DISK.get(error.errno or 0, f'fix that and {GOES_ON}')}"


def _of_the_user(error: BaseException, frames: Sequence[FrameSummary]) -> str:
    """Return the message for an error in the user's own code, with only that code's frames."""
    if isinstance(error, SyntaxError):
        return f"your code cannot be read: {type(error).__name__} at {error.filename}:{error.lineno}: {error.msg}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        who = f"{frames[-1].filename}:{frames[-1].lineno} imports" if frames else "something imports"
        return f"{who} {error.name}, which is not installed; install it (`pip install {error.name.partition('.')[0]}`)"
    if not frames:
        return _named(error)
    *outer, last = frames
    head = f"your code raised {type(error).__name__} at {last.filename}:{last.lineno} in {last.name}"
    text = " ".join(str(error).split())
    return "\n".join([f"{head}: {text}" if text else head, *map(_line, outer), *([_line(last)] if last.line else [])])


def _line(frame: FrameSummary) -> str:
    return f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}"


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _short(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _printable(file: object) -> str:
    return file.decode(errors="replace") if isinstance(file, bytes) else str(file)
