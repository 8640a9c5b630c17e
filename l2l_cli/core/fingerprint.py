"""Fingerprints of what determines results besides a configuration: code outside of l2l, and data files; no torch."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from l2l_cli.core.files import atomic_write, cache_folder
from l2l_cli.core.nodes import TORCH_OPTIMIZERS, classes_in
from l2l_cli.core.places import spec_of
from l2l_cli.core.reference import GIVEN

LIBRARIES = ("site-packages", "dist-packages")
"""Names of folders in which packages are installed; the fingerprint of a module there covers its own file only."""

SAMPLE, WHOLE = 1000, 64 << 20
"""Number of files sampled from a large folder of data, and largest number of bytes read from any folder."""

TICK = 2.0
"""Coarsest resolution of modification times on any file system, in seconds."""


def of_code(node: object) -> dict[str, str]:
    """Return a fingerprint of the source of each module outside of l2l whose classes a node names.

    It covers the module's own file and what the module most likely uses: all of its package or, for a module outside of
    any package, the other modules in its folder.  For an installed module it covers only its own file and, for a
    package, the version.  torch's optimizers have none, like torch itself; names of objects given by a program contain
    their digests.  A module that is not found, or has no source, has the fingerprint ``NO_SOURCE``.

    Args:
        node: Mappings and lists, nested to any depth.
    """
    modules = {target.rpartition(".")[0] for target in classes_in(node)}
    return {
        name: of_module(name)
        for name in sorted(modules)
        if name and name.split(".")[0] != __name__.split(".")[0] and name not in (TORCH_OPTIMIZERS, GIVEN)
    }


def of_module(name: str) -> str:
    """Return the fingerprint of one module; see ``of_code``."""
    return _digest([*((path.name, path.read_bytes()) for path in _sources(name)), *_versions(name)])


def _sources(module: str) -> list[Path]:
    """Return the files that a module's fingerprint covers, in order; none if it has no source."""
    found = spec_of(module)
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return []
    own = Path(found.origin)
    if set(LIBRARIES) & set(own.parts) or own.is_relative_to(os.__file__.rpartition(os.sep)[0]):
        return [own]
    top = spec_of(module.split(".")[0])
    if top is not None and top.submodule_search_locations:
        return sorted(path for place in top.submodule_search_locations for path in Path(place).rglob("*.py"))
    return sorted(own.parent.glob("*.py"))


def _versions(module: str) -> list[tuple[str, bytes]]:
    """Return the name and version of an installed package, from its folder of metadata; nothing for a plain module."""
    own, top = spec_of(module), spec_of(module.split(".")[0])
    if own is None or not own.submodule_search_locations or top is None or not top.origin:
        return []
    place = Path(top.origin).parent.parent
    return [(found.name, b"") for found in sorted(place.glob(f"{top.name}-*.dist-info"))]


def of_folder(place: Path) -> str:
    """Return a fingerprint of a folder of data: the names and sizes of all its files, and their content.

    Folders of at most ``WHOLE`` bytes are read completely.  In larger ones, ``SAMPLE`` evenly spread files are read at
    their beginning and end, so a change that keeps every name and size may go unnoticed.  Nothing is read if all sizes
    and modification times are those of the last call.
    """
    files = sorted(_files(place))
    states = [os.stat(file) for file in files]
    named = list(zip((os.path.relpath(file, place) for file in files), states, strict=True))
    state = _digest((name, f"{one.st_size} {one.st_mtime_ns} {one.st_ctime_ns}".encode()) for name, one in named)
    kept = cache_folder() / "fingerprints" / f"{_digest([(os.path.abspath(place), b'')])}.txt"
    if (found := _kept(kept, state)) is not None:
        return found
    began, sizes = time.time(), [one.st_size for one in states]
    names = [(name, str(one.st_size).encode()) for name, one in named]
    if sum(sizes) <= WHOLE:
        found = _digest([*names, *((file.rpartition(os.sep)[2], Path(file).read_bytes()) for file in files)])
    else:
        some = [files[index * len(files) // SAMPLE] for index in range(SAMPLE)] if len(files) > SAMPLE else files
        found = _digest([*names, *(("", _ends(file, WHOLE // len(some))) for file in some)])
    # A further change within the same tick of the clock would go unnoticed.
    if began - max((one.st_ctime for one in states), default=0.0) > TICK:
        with suppress(OSError):  # it will be read again
            kept.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(kept, f"{state} {found}")
    return found


def _kept(path: Path, state: str) -> str | None:
    """Return the cached fingerprint of a folder if its state has not changed since, otherwise None."""
    try:
        before, _, found = path.read_text(encoding="ascii").partition(" ")
    except (OSError, ValueError):
        return None
    return found if before == state and len(found) == len(state) else None


def _files(place: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder that are not hidden; as strings, since there may be millions.

    Only regular files count: reading others, such as pipes, could block.
    """
    for folder, folders, names in os.walk(place, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (os.path.join(folder, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if os.path.isfile(path))


def _ends(file: str, count: int) -> bytes:
    """Return a file's content or, if it has more than ``count`` bytes, its first and its last ``count // 2``."""
    with open(file, "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        if size <= count:
            return opened.read()
        first = opened.read(count // 2)
        opened.seek(size - count // 2)
        return first + opened.read()


def _digest(parts: Iterable[tuple[str, bytes]]) -> str:
    """Return a digest of a sequence of names and contents, as 16 hexadecimal digits."""
    found = hashlib.blake2b(digest_size=8)
    for name, content in parts:
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


NO_SOURCE = _digest(())
"""Fingerprint of a module whose source is not found."""
