"""CONTRACT.md and the tests that it names are one."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_test_that_the_contract_names_exists_and_all_of_the_contract_are_named():
    named = set(re.findall(r"`(test_\w+)`", (HERE / "CONTRACT.md").read_text()))
    files = {
        path.name: set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)) for path in HERE.glob("*.py")
    }
    assert len(named) > 30
    assert named <= set().union(*files.values())
    assert files["test_contract.py"] - named == {"test_everything_is_found_in_the_package"}
