"""Files of tensors: checkpoints and weights, which contain a checksum and are not trusted when they are read."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from l2l_cli.core.errors import RunFailed
from l2l_cli.core.files import atomic_write, read_file
from l2l_cli.core.plain_text import in_one_line
from l2l_cli.results.tensor_files import KEY, UNKNOWN, Damaged, sealed, see_that_it_is_whole

CHECKPOINT, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"

ROOM = 64 << 20
"""Bytes that a file may have in addition to four times its expected tensors; headers of safetensors are smaller."""


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], kept: Path | None = None, notes: Mapping[str, str] | None = None
) -> None:
    """Write tensors and ``notes``, with a checksum of the whole file in its header.

    The old content is moved to ``kept``, if that is given; see ``sealed``.
    """
    content = to_safetensors({name: value.contiguous() for name, value in tensors.items()}, {KEY: UNKNOWN})
    atomic_write(path, sealed(content, notes), kept)


def read_tensors(path: Path, expected: int) -> dict[str, Tensor]:
    """Read a file of about ``expected`` bytes of tensors, if it is intact.

    Raises:
        Damaged: The file is not as it was written, or cannot be read.
        UsageError: It is not a regular file, or far larger than expected.
        FileNotFoundError: There is no such file.
    """
    try:
        content = read_file(path, 4 * expected + ROOM)
        see_that_it_is_whole(content)
        return from_safetensors(content)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise Damaged(in_one_line(error)) from error


def read_checkpoint(folder: Path, expected: int) -> dict[str, Tensor] | None:
    """Read a run's checkpoint or, if it is damaged, the one before it, which then replaces it.

    Returns:
        Its tensors; None if there is none.

    Raises:
        RunFailed: All existing checkpoints are damaged.
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
            print(f"warning: {why}; the run continues from the checkpoint before it", file=sys.stderr)
            os.replace(folder / PREVIOUS, folder / CHECKPOINT)
        return saved
    if reasons:
        raise RunFailed(f"{' and '.join(reasons)}; delete that and run again: training then starts from scratch")
    return None


def size_of(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of bytes of tensors."""
    return sum(value.numel() * value.element_size() for value in tensors.values())
