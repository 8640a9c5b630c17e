"""Damage to files: in their bytes, in what they say, and in what kind of file they are."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hypothesis import strategies as st

from tests.fuzz.outcome import FIFOS, SECRET

BYTES = ("bit", "byte", "cut", "longer", "zeros", "swap", "twice", "without", "insert", "other file")
MEANING = ("value", "key", "lost", "added")

INSERTED = (b"\x00", b"\x1b[31m", b"\xff\xfe", b"\n", b"\r", b"\t", b"<script>", b"\xc3\x28", b'"', b",", b"-", b"9")

WRONG: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 10**30, 0.5, float("nan"), float("inf"), "", "x", "???", "1e400", [], {}, [[]], [None]),
    *(
        "../../outside/x",
        "/tmp/x",
        "a/b",
        "\x1b[31mred\x07",
        "<script>alert(1)</script>",
        "two\nlines",
        "ä\u202e",
        "\x00",
    ),
    *("${oc.env:HOME}", "${task.horizon}", "${oc.decode:[1}", "${", "~", "x" * 5000, [1, 2, 3], {"a": {"b": {}}}),
    *({"_target_": "tests.fuzz.canary.Boom"}, {"_target_": "os.system", "command": "true"}, "tests.fuzz.canary.Boom"),
    *("l2l_cli.bridge.os.system", "l2l_cli.core.files.Path", {"_target_": "l2l_cli.core.files.Path"}, ["${seed}"]),
)
"""Values of wrong types, out of range, or of a stranger's."""


class Mutation(NamedTuple):
    """Damage of one kind, at a place and of an amount that are drawn at random, whatever the size of a file."""

    kind: str
    at: int
    amount: int

    def __call__(self, path: Path, others: list[Path]) -> None:
        """Damage a file; ``others`` lie beside it and may take its place."""
        if self.kind == "other file":
            path.write_bytes(others[self.at % len(others)].read_bytes())
        elif self.kind in BYTES:
            path.write_bytes(self._bytes(path.read_bytes()))
        else:
            path.write_bytes(self._meaning(path))

    def _bytes(self, content: bytes) -> bytes:
        size = len(content)
        at, rng = self.at % (size + 1), random.Random(self.amount)
        span = 1 + self.amount % 64
        block, place = content[at : at + span], rng.randrange(size + 1)
        match self.kind:
            case "bit" | "byte":
                if not size:
                    return content
                changed, at = bytearray(content), self.at % size
                changed[at] = changed[at] ^ (1 << self.amount % 8) if self.kind == "bit" else self.amount % 256
                return bytes(changed)
            case "cut":
                return content[:at]
            case "longer":
                return content + (rng.randbytes(span) if self.at % 2 else bytes(span))
            case "zeros":
                return content[:at] + bytes(len(block)) + content[at + span :]
            case "swap":
                low, high = sorted((at, place))
                return content[:low] + content[high:] + content[low:high]
            case "twice":
                return content[:at] + block + content[at:]
            case "without":
                return content[:at] + content[at + span :]
        return content[:at] + INSERTED[self.amount % len(INSERTED)] + content[at:]

    def _meaning(self, path: Path) -> bytes:
        """Change what a file says; files of other kinds have a byte changed."""
        content = path.read_bytes()
        match path.suffix:
            case ".json":
                return json.dumps(self._tree(json.loads(content)), indent=2).encode()
            case ".yaml":
                return yaml.dump(self._tree(yaml.safe_load(content)), sort_keys=False, allow_unicode=True).encode()
            case ".csv":
                return self._table(content.decode()).encode()
            case ".safetensors":
                return self._tensors(content)
        return self._replace(kind="byte")._bytes(content)

    def _tree(self, root: Any) -> Any:
        """Change one entry of nested mappings and lists."""
        places = list(_entries(root))
        if not places:
            return WRONG[self.amount % len(WRONG)]
        holder, key = places[self.at % len(places)]
        wrong = WRONG[self.amount % len(WRONG)]
        if self.kind == "value":
            holder[key] = wrong
        elif self.kind == "lost":
            del holder[key]
        elif self.kind == "added" and isinstance(holder, dict):
            holder["further"] = wrong
        elif isinstance(holder, dict):
            holder[wrong if isinstance(wrong, str) else str(wrong)] = holder.pop(key)
        else:
            holder.insert(key, wrong)
        return root

    def _table(self, text: str) -> str:
        """Change a cell, take one out or add one, or take out a line; or a column's name."""
        rows = list(csv.reader(io.StringIO(text, newline="")))
        if not rows:
            return "x,y\n"
        row = rows[0 if self.kind == "key" else self.at % len(rows)]
        wrong = str(WRONG[self.amount % len(WRONG)])
        if self.kind == "added":
            row.insert(self.amount % (len(row) + 1), wrong)
        elif self.kind == "lost" and self.amount % 2:
            rows.remove(row)
        elif self.kind == "lost" and row:
            del row[self.amount % len(row)]
        elif row:
            row[self.at // 7 % len(row)] = wrong
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(rows)
        return out.getvalue()

    def _tensors(self, content: bytes) -> bytes:
        """Change an entry of the header, or a number to one that is none."""
        length = struct.unpack("<Q", content[:8])[0]
        if self.kind == "lost":
            values = content[8 + length :]
            at = 4 * (self.at % max(1, len(values) // 4))
            number = (float("nan"), float("inf"), -1e38)[self.amount % 3]
            return content[: 8 + length] + values[:at] + struct.pack("<f", number) + values[at + 4 :]
        header = json.dumps(self._tree(json.loads(content[8 : 8 + length]))).encode()
        return struct.pack("<Q", len(header)) + header + content[8 + length :]


def _entries(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the holder and the key of every entry."""
    pairs = list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())
    for key, value in pairs:
        yield node, key
        yield from _entries(value)


def mutations(*kinds: str) -> st.SearchStrategy[Mutation]:
    """Draw damage of some kinds, or of all."""
    number = st.integers(0, 2**20)
    return st.builds(Mutation, st.sampled_from(kinds or BYTES + MEANING), number, number)


# --- What is no random damage: each of these is tried once on every file ----------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)
TEXTS = {
    "a bomb of aliases": BOMB,
    "an alias of itself": "a: &a [*a]\n",
    "mapping of itself": "&a\nb: *a\n",
    "ten thousand brackets": "[" * 10_000,
    "a tag that runs code": "!!python/object/apply:os.system [true]\n",
    "a tab": "a:\n\tb: 1\n",
    "a key twice": "a: 1\na: 2\n",
    "Latin-1": "a: \xe4\n".encode("latin-1"),
    "UTF-16": "a: 1\n".encode("utf-16"),
    "a mark of the byte order": b"\xef\xbb\xbfa: 1\n",
    "NULs": bytes(4096),
    "nothing": b"",
    "a newline": b"\n",
    "null": b"null",
    "a list": b"[]",
    "a number too long to read": b"9" * 5000,
}
"""Contents in place of a file's own."""

KINDS = ("missing", "link out", "link to nothing", "link to itself", "FIFO", "folder", "1 TB", *TEXTS)


def put(kind: str, path: Path, outside: Path) -> None:
    """Put something else in place of a file; links lead into the folder ``outside``."""
    own = path.read_bytes() if path.is_file() and path.stat().st_size < 1 << 30 else b""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    outside.mkdir(exist_ok=True)
    match kind:
        case "missing":
            return
        case "link out":
            (outside / path.name).write_bytes(own or SECRET.encode())
            path.symlink_to(outside / path.name)
        case "link to nothing":
            path.symlink_to(outside / "not there")
        case "link to itself":
            path.symlink_to(path.name)
        case "FIFO":
            os.mkfifo(path)
            FIFOS.append(path)
        case "folder":
            path.mkdir()
        case "1 TB":
            path.touch()
            os.truncate(path, 1 << 40)
        case _:
            text = TEXTS[kind]
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
