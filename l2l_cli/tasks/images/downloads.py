"""Downloads that show progress, resume where they were cut off, and try the next address when one fails."""

from __future__ import annotations

import hashlib
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError

from l2l_cli.core.errors import L2LError
from l2l_cli.core.voice import VOICE

PIECE = 1 << 16
"""Number of bytes read at once."""

PATIENCE = 30.0
"""Seconds without a byte after which an address is given up."""

TRIES = 3
"""Largest number of times that an address is tried before the next one is tried."""

OFTEN, SELDOM = 0.5, 10.0
"""Seconds between two lines of progress on a terminal, and elsewhere."""


class DownloadError(L2LError):
    """No address gave the file."""


def download(addresses: Sequence[str], path: Path, checksum: str) -> None:
    """Download a file to its place, either completely and with the right MD5 or not at all.

    A download that was cut off resumes from ``PATH.part``, at any address that supports it.

    Raises:
        DownloadError: No address gave the file; the message says why not.
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, reasons = path.with_name(f"{path.name}.part"), []
    for address in addresses:
        for _ in range(TRIES):
            reason, before = "", part.stat().st_size if part.exists() else 0
            with part.open("ab") as file:
                try:
                    _append(address, file, before, path.name)
                except (_Broken, TimeoutError) as error:
                    reason = str(error)
            if not reason and _md5(part) == checksum:
                part.replace(path)
                return
            if not reason:
                reason = "it gave a different file, by its MD5"
                part.unlink()
            if part.exists() and part.stat().st_size == before:  # nothing came
                break
        reasons.append(f"{address}: {reason}")
    raise DownloadError("; ".join(reasons))


class _Broken(Exception):
    """The network or the server failed, not the local disk."""


def _append(address: str, file: IO[bytes], before: int, name: str) -> None:
    """Append the missing rest of a file that has ``before`` bytes so far."""
    request = urllib.request.Request(address, headers={"Range": f"bytes={before}-"} if before else {})
    try:
        response = urllib.request.urlopen(request, timeout=PATIENCE)
    except HTTPError as error:
        if error.code == 416:  # there is no more: the checksum will tell
            return
        raise _Broken(str(error)) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _Broken(str(getattr(error, "reason", error))) from error
    with response:
        if before and response.status != 206:  # the server sends the whole file
            file.truncate(0)
            before = 0
        left = response.headers.get("Content-Length")
        total = before + int(left) if left and left.isdigit() else None
        done, shown = before, _Counter(name, address, total)
        while True:
            try:
                content = response.read(PIECE)
            except (OSError, HTTPException) as error:
                raise _Broken(str(error) or "the connection broke") from error
            if not content:
                break
            file.write(content)
            done += len(content)
            shown.tell(done)
        shown.end()
        if total is not None and done < total:
            raise _Broken(f"the connection broke after {done} of {total} bytes")


class _Counter:
    """Progress of a download on standard error."""

    def __init__(self, name: str, address: str, total: int | None) -> None:
        self._name, self._total, self._terminal = name, total, sys.stderr.isatty()
        self._said = time.monotonic()
        whole = f", {total / 1e6:.1f} MB" if total is not None else ""
        VOICE.note(f"downloading {name} from {address.split('/')[2]}{whole}", sys.stderr)

    def tell(self, done: int) -> None:
        """Print from time to time how much has arrived."""
        if VOICE.quiet or time.monotonic() - self._said < (OFTEN if self._terminal else SELDOM):
            return
        self._said = time.monotonic()
        VOICE.heard()
        share = f" of {self._total / 1e6:.1f} MB, {done / self._total:.0%}" if self._total else " MB"
        line = f"{self._name}: {done / 1e6:.1f}{share}"
        print(f"\r{line}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """End the line."""
        if self._terminal and not VOICE.quiet:
            print(file=sys.stderr)


def _md5(path: Path) -> str:
    with suppress(FileNotFoundError), path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return ""
