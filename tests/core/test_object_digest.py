"""What a user's objects do, as digits: the same in every process, others where anything of it differs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import l2l_cli


def digest(folder: Path, code: str, seed: int = 0) -> str:
    """The digest of ``found`` in a program of its own, whose sets have the order of a seed."""
    head = "from l2l_cli.core.object_digest import digest_of\n"
    program = f"{head}{textwrap.dedent(code)}\nprint(digest_of(found))\n"
    root = str(Path(l2l_cli.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join([str(folder), root])},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        """
        def found(name):
            return name in {"relu", "tanh", "sigmoid", "gelu", "silu"}
        """,
        """
        known = {"relu", "tanh", "sigmoid", "gelu", "silu"}
        def found(name):
            return name in known
        """,
    ],
)
def test_a_set_has_the_same_digits_in_every_process(code, tmp_path):
    assert len({digest(tmp_path, code, seed) for seed in range(4)}) == 1


def test_a_module_of_the_users_counts_by_its_content(tmp_path):
    (tmp_path / "helpers.py").write_text("def double(x):\n    return 2 * x\n")
    code = "import helpers\ndef found(x): return helpers.double(x)\n"
    before = digest(tmp_path, code)
    assert digest(tmp_path, code) == before
    (tmp_path / "helpers.py").write_text("def double(x):\n    return x + x\n")
    assert digest(tmp_path, code) != before


def test_constants_count(tmp_path):
    assert len({digest(tmp_path, f"found = lambda: {value}") for value in ("1", "1.0", "True", "'1'", "(1,)")}) == 5
