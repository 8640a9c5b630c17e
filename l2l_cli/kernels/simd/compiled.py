"""How kernels are compiled, and where the machine code is kept: once per machine and version of the kernels."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config

from l2l_cli.core.files import cache_folder

F = TypeVar("F", bound=Callable[..., Any])

# nnan and ninf are left out: a run that diverges must show as NaN, not as undefined behaviour.
_FASTMATH = {"contract", "reassoc", "arcp", "nsz", "afn"}


def _cache() -> Path:
    """Return the folder of machine code, named after the kernels' sources.

    Numba looks only at the function's own file, so that a change in one of the other files would go unnoticed.
    """
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    content = b"".join(path.read_bytes() for path in sources) + numba.__version__.encode()
    try:
        folder = cache_folder() / f"kernels-{hashlib.sha256(content).hexdigest()[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:  # the home folder is not writable: kernels are compiled in every process
        return Path(tempfile.mkdtemp(prefix="l2l-kernels-"))


CACHE = Path(os.environ.get("NUMBA_CACHE_DIR") or _cache())
"""Folder of the machine code of our kernels; that of other programs stays where it is."""


def kernel(function: F) -> F:
    """Compile with the options that all kernels share; inlined, because a call would copy every array's header."""
    compile_it = numba.njit(cache=True, fastmath=_FASTMATH, error_model="numpy", nogil=True, forceinline=True)
    before = config.CACHE_DIR  # type: ignore[attr-defined]
    config.CACHE_DIR = str(CACHE)  # type: ignore[attr-defined]
    try:
        return cast("F", compile_it(function))
    finally:
        config.CACHE_DIR = before  # type: ignore[attr-defined]


@cache
def announce(function: Callable[..., Any], name: str) -> None:
    """Print a notice if a kernel has yet to be compiled; checked once per process, since this searches a folder."""
    if not list(CACHE.rglob(f"*{Path(function.__code__.co_filename).stem}.{function.__name__}-*.nbi")):
        print(f"compiling the {name} kernel for this machine, once: about ten seconds", file=sys.stderr)
