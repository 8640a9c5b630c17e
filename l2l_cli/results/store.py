"""A store of computed results, shared by all commands: Parquet files named by a hash of all that determined them.

``pandas.read_parquet`` reads all entries of a kind, such as ``outputs/store/scores``, as one tidy frame.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from l2l_cli.core.errors import UsageError
from l2l_cli.core.files import TEMPORARY, atomic_write, open_file
from l2l_cli.core.fingerprint import of_code
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.plain_text import in_one_line, parsed_json
from l2l_cli.core.voice import VOICE
from l2l_cli.results.run import RESULTS

if TYPE_CHECKING:
    import pyarrow as pa

SCORES, TRIALS = "scores", "trials"
"""Kinds of entries, each with a folder of its own."""

GIGABYTE = 10**9

ABANDONED = 3600.0
"""Seconds after which a temporary file is taken for one that a killed process left behind."""


class Names(NamedTuple):
    """A column of names: the distinct ones, and for each row the index of its name."""

    names: Sequence[str]
    rows: NDArray[np.int32]


Column = str | int | float | Names | NDArray[np.generic]
"""A column of an entry: a value for each row, or one for all of them."""


class Kept(NamedTuple):
    """An entry that was read: its facts, and its column ``value`` if that was requested."""

    facts: Entries
    values: NDArray[np.float64]


class Store:
    """Entries by their keys.

    Any number of processes may read and write one folder: files are written atomically, and equal keys give equal
    entries.  Each file contains its entry's whole key, which is compared, so that no two keys are ever confused.

    Args:
        folder: Folder of the entries, which is created when needed.  If it cannot be written, it is only read.
        also: Further such folders, which are read and never written.
        limit: Size in bytes above which ``prune`` removes entries.
    """

    def __init__(self, folder: Path, also: Sequence[Path] = (), limit: float = 20 * GIGABYTE) -> None:
        self._folder, self._also, self._limit = folder, also, limit
        self._writable = True
        self._told: set[Path] = set()

    def known(self, kind: str, key: Node) -> bool:
        """Return whether there is an entry, reading no more than is needed to compare its key."""
        return self._find(kind, key, values=False) is not None

    def read(self, kind: str, key: Node, values: bool = False) -> Kept | None:
        """Return an entry, and mark it as used now; None if there is none.

        Args:
            kind: Kind of the entry.
            key: All that determined it, serialisable as JSON.
            values: Whether to read the column ``value``; the other columns are never read.
        """
        return self._find(kind, key, values)

    def keep(self, kind: str, key: Node, columns: Mapping[str, Column], facts: Node) -> None:
        """Write an entry; if the folder cannot be written, say so once and do nothing.

        Args:
            kind: Kind of the entry.
            key: All that determined it, serialisable as JSON.
            columns: Columns by name, the same ones for all entries of a kind.
            facts: Facts to be read back with it, serialisable as JSON.
        """
        if not self._writable:
            return
        identity = _canonical(key)
        named = {"entry": _name(identity), **columns}
        try:
            path = self._folder / kind / _file(identity)
            path.parent.mkdir(parents=True, exist_ok=True)
            # An entry that a power cut takes away is computed again.
            atomic_write(path, _parquet(named, _metadata(identity, json.dumps(facts))), lasting=False)
        except OSError as error:
            self._refused(error)

    def prune(self) -> None:
        """Remove the least recently used entries until all together are no larger than the limit."""
        entries = sorted(self._entries(), key=lambda entry: entry.used)
        size, removed = sum(entry.size for entry in entries), 0
        for entry in entries:
            if size <= self._limit:
                break
            try:
                entry.path.unlink(missing_ok=True)  # another process may prune too
            except OSError as error:
                self._refused(error)
                break
            size, removed = size - entry.size, removed + 1
        if removed:
            limit = f"{self._limit / GIGABYTE:g} GB (store.limit)"
            _say(f"removed the {removed} least recently used entries, to keep {self._folder} within {limit}")

    def _refused(self, error: OSError) -> None:
        """Stop writing to the folder."""
        self._writable = False
        _say(f"{self._folder} cannot be written ({error.strerror or error}); nothing is added to it")

    def _entries(self) -> Iterator[_Stored]:
        """Yield all entries, and remove the temporary files that killed processes left behind."""
        for folder in (self._folder / SCORES, self._folder / TRIALS):
            for found in os.scandir(folder) if self._writable and folder.is_dir() else ():
                with suppress(OSError):  # another process prunes too, or removal is not permitted
                    state = found.stat()
                    if found.name.endswith(TEMPORARY):
                        if time.time() - state.st_mtime > ABANDONED:
                            os.unlink(found.path)
                    elif found.name.endswith(".parquet"):
                        yield _Stored(Path(found.path), state.st_size, state.st_mtime)

    def _find(self, kind: str, key: Node, values: bool) -> Kept | None:
        identity = _canonical(key)
        for folder in (self._folder, *self._also):
            path = folder / kind / _file(identity)
            found = self._read(path, identity, values)
            if found is not None:
                if folder is self._folder:
                    with suppress(OSError):  # the folder cannot be written
                        os.utime(path)
                return found
        return None

    def _read(self, path: Path, identity: str, values: bool) -> Kept | None:
        """Read a file; None if it is missing, holds another key, or is damaged, which is reported once."""
        if not os.path.lexists(path):
            return None
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with open_file(path) as opened, pq.ParquetFile(opened, page_checksum_verification=True) as file:
                noted = {name.decode(): text.decode() for name, text in file.schema_arrow.metadata.items()}
                if noted != _metadata(noted["identity"], noted["facts"]):
                    raise OSError("its metadata are not as they were written")
                if noted["identity"] != identity:  # a name may stand for more than one key
                    return None
                column = file.read(columns=["value"])["value"].to_numpy() if values else np.empty(0)
                known = parsed_json(noted["facts"])
                return Kept(known, column) if isinstance(known, dict) else None
        except FileNotFoundError:  # another process has just pruned it
            return None
        except (pa.ArrowException, UsageError, OSError, ValueError, KeyError, AttributeError) as error:
            if path not in self._told:
                self._told.add(path)
                _say(f"{path} is damaged ({in_one_line(error, 120)}); what it held is computed again")
            return None


class _Stored(NamedTuple):
    """The file of an entry, its size in bytes, and when it was last used, in seconds since 1970."""

    path: Path
    size: int
    used: float


def _canonical(key: Node) -> str:
    """Return a key as text, together with ``RESULTS`` and the fingerprints of code from elsewhere."""
    return json.dumps({"results": RESULTS, "code": of_code(key), **key}, sort_keys=True, default=str)


def _name(identity: str) -> str:
    return hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()


def _file(identity: str) -> str:
    return f"{_name(identity)}.parquet"


def _metadata(identity: str, facts: str) -> dict[str, str]:
    return {"identity": identity, "facts": facts, "digest": _name(identity + facts)}


def _parquet(columns: Mapping[str, Column], metadata: Mapping[str, str]) -> bytes:
    """Return a Parquet file of columns, with checksums of its pages."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lengths = [len(one.rows) if isinstance(one, Names) else one.size for one in columns.values() if _is_long(one)]
    rows = lengths[0] if lengths else 1
    table = pa.table({name: _array(column, rows) for name, column in columns.items()})
    counted = {name for name, column in columns.items() if isinstance(column, np.ndarray)}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(dict(metadata)),
        sink,
        compression="zstd",
        compression_level=3,
        write_statistics=False,  # they would take most of the time, and each file is read as a whole
        use_dictionary=[name for name in columns if name not in counted],
        column_encoding={
            name: "BYTE_STREAM_SPLIT" if table[name].type == pa.float64() else "DELTA_BINARY_PACKED" for name in counted
        },
        write_page_checksum=True,
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _is_long(column: Column) -> TypeGuard[Names | NDArray[np.generic]]:
    return isinstance(column, Names | np.ndarray)


def _array(column: Column, rows: int) -> pa.Array:
    """Return a column of an entry as an Arrow array; names are dictionary-encoded, which takes little memory."""
    import pyarrow as pa

    match column:
        case str():
            return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [column])
        case Names(names, which):
            return pa.DictionaryArray.from_arrays(which, list(names))
        case int() | float():
            return pa.array(np.full(rows, column))
    return pa.array(column)


def _say(text: str) -> None:
    VOICE.note(f"store: {text}", sys.stderr)
