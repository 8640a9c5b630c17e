"""Files of tensors: checkpoints and weights, which carry a checksum and are read without trust."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from l2l_cli.core.errors import RunFailed
from l2l_cli.core.files import atomic_write, checksum, read_file
from l2l_cli.core.plain_text import in_one_line

CHECKPOINT, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"

_KEY, _UNKNOWN = "xxh3", 16 * "-"
_PLACE = re.compile(rb'"xxh3":"([0-9a-f]{16}|-{16})"')

ROOM = 64 << 20
"""Bytes that a file may have beside four times its expected tensors: heads of safetensors have less."""


class Damaged(Exception):
    """A file of tensors that is not as it was written; the reason."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], kept: Path | None = None) -> None:
    """Write tensors with a checksum of the whole file in its head; the old content may be ``kept`` under that name.

    It stands under "xxh3" of the head's ``__metadata__``, and is that of the file with "-" in its place.
    """
    content = to_safetensors({name: value.contiguous() for name, value in tensors.items()}, {_KEY: _UNKNOWN})
    end = _end_of_head(content)
    head, data = content[:end], memoryview(content)[end:]
    sealed = head.replace(f'"{_KEY}":"{_UNKNOWN}"'.encode(), f'"{_KEY}":"{checksum(head, data)}"'.encode())
    atomic_write(path, [sealed, data], kept)


def read_tensors(path: Path, expected: int) -> dict[str, Tensor]:
    """Read a file of about ``expected`` bytes of tensors; of versions that wrote no checksum, none is asked for.

    Raises:
        Damaged: It is not as it was written, or cannot be read.
        UsageError: It is no file, or far too large for what it is to hold.
        FileNotFoundError: There is no such file.
    """
    try:
        content = read_file(path, 4 * expected + ROOM)
        end = _end_of_head(content)
        if found := _PLACE.search(head := content[:end]):
            bare = head[: found.start(1)] + _UNKNOWN.encode() + head[found.end(1) :]
            if checksum(bare, memoryview(content)[end:]) != found.group(1).decode():
                raise Damaged("its checksum is another")
        return from_safetensors(content)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise Damaged(in_one_line(error)) from error


def _end_of_head(content: bytes) -> int:
    """Return where the data of a safetensors file begin, as its first 8 bytes say."""
    return 8 + int.from_bytes(content[:8], "little")


def read_checkpoint(folder: Path, expected: int) -> dict[str, Tensor] | None:
    """Read a run's checkpoint, or where that is damaged the one before it, which then takes its place.

    Returns:
        Its tensors; None if there is none.

    Raises:
        RunFailed: All that there is is damaged.
    """
    reasons = []
    for name in (CHECKPOINT, PREVIOUS):
        try:
            saved = read_tensors(folder / name, expected)
        except FileNotFoundError:
            continue
        except Damaged as error:
            reasons.append(f"{folder / name} is damaged ({error})")
            continue
        if name == PREVIOUS:
            why = reasons[0] if reasons else f"{folder / CHECKPOINT} is missing"
            print(f"warning: {why}; the run goes on from the checkpoint before it", file=sys.stderr)
            os.replace(folder / PREVIOUS, folder / CHECKPOINT)
        return saved
    if reasons:
        raise RunFailed(f"{' and '.join(reasons)}; delete that and run again, and the training begins anew")
    return None


def size_of(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of bytes of tensors."""
    return sum(value.numel() * value.element_size() for value in tensors.values())
