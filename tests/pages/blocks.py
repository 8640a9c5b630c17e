"""Code blocks of the pages, and how they are carried out as they are printed.

A comment before a block says what it is: ``<!-- run: slow -->``, it trains for longer; ``<!-- run: ci -->``, continuous
integration runs its commands; ``<!-- run: cluster -->``, it needs other machines; ``<!-- output -->``, the commands
before it print it.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.pages import ROOT

FENCED = re.compile(r"(?:<!-- (run: \w+|output) -->\n)?```(\w*)\n(.*?)\n```", re.DOTALL)

PAGES = [ROOT / "README.md", *sorted((ROOT / ".github").rglob("*.md")), ROOT / "tests/bench/README.md"]


class Block(NamedTuple):
    """One block: the comment before it, its language and its text without the fences."""

    mark: str
    language: str
    text: str

    @property
    def file(self) -> str:
        """The file that it is to be written to, by its first line; none if it is to be run."""
        named = re.match(r"# (\S+\.(?:py|yaml))\n", self.text)
        return named[1] if named else ""


def blocks_of(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    return [Block(*parts) for parts in FENCED.findall(page.read_text(encoding="utf-8"))]


def write_files(page: Path, folder: Path) -> None:
    """Write the files that a page tells its reader to write."""
    for block in blocks_of(page):
        if block.file:
            place = folder / block.file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(block.text + "\n", encoding="utf-8")


def commands_of(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell block, as the shell would split and complete them."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        quoted = "'" in line
        yield [found for word in words for found in (([] if quoted else sorted(glob.glob(word))) or [word])]


def carry_out(block: Block, folder: Path) -> str:
    """Carry out a block in a folder by bash or Python, in an environment where l2l is installed; return its output.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    program = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    paths = {"PATH": f"{installed(folder)}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*program, block.text], cwd=folder, env=os.environ | paths, text=True, stdout=subprocess.PIPE, check=True
    )
    return ended.stdout


def installed(folder: Path) -> Path:
    """A folder of programs as ``make install`` leaves it, which names this Python."""
    place = folder / ".venv/bin"
    place.mkdir(parents=True, exist_ok=True)
    for name, words in {"l2l": "-m l2l_cli", "python": ""}.items():
        (place / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        (place / name).chmod(0o755)
    (place / "activate").write_text(f"PATH={place}:$PATH\n")
    return place


def differing(expected: str, output: str) -> list[str]:
    """The lines of a printed output that no line of a real one equals, without frames, numbers to five per cent."""
    lines = [re.sub("[│┃]", " ", line).split() for line in output.splitlines()]
    return [line for line in expected.splitlines() if not any(_alike(line.split(), other) for other in lines)]


def _alike(one: list[str], other: list[str]) -> bool:
    return len(one) == len(other) and all(map(_same, one, other))


def _same(one: str, other: str) -> bool:
    try:
        a, b = (float(word.strip("[],")) for word in (one, other))
    except ValueError:
        return one == other
    return abs(a - b) <= 0.05 * max(abs(a), abs(b))
