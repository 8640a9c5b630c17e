"""What a package index shows of the program, away from its repository."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.pages import ROOT

pytest.importorskip("hatchling")

SPEC = importlib.util.spec_from_file_location("describe", ROOT / ".github/describe.py")
assert SPEC is not None
assert SPEC.loader is not None
describe = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(describe)

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_and_pictures_lead_to_the_repository():
    text = describe.described(README, "https://example.org/group/l2l")
    assert "](https://example.org/group/l2l/raw/main/.github/table2.png)" in text
    assert "](https://example.org/group/l2l/blob/main/.github/docs/own-task.md)" in text
    assert re.findall(r"\]\((?!https?://)", text) == []
    assert "<!--" not in text


def test_without_a_repository_nothing_leads_nowhere():
    text = describe.described(README, "")
    assert "](" not in text
    assert "a task of your own" in text


def test_the_address_is_what_is_given_or_the_remote(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_REPOSITORY", "https://example.org/a/b/")
    assert describe.address(tmp_path) == "https://example.org/a/b"
    monkeypatch.delenv("L2L_REPOSITORY")
    assert describe.address(tmp_path) == ""
