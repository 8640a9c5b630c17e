"""What a package index shows of the program, away from its repository."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType

import pytest

from tests.pages import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def describe(monkeypatch):
    """The build's hook, which needs nothing of hatchling but a base class."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = object
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = importlib.util.spec_from_file_location("describe", ROOT / ".github/describe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_and_pictures_lead_to_the_repository(describe):
    text = describe.described(README, "https://example.org/group/l2l")
    assert "](https://example.org/group/l2l/raw/main/.github/table2.png)" in text
    assert "](https://example.org/group/l2l/blob/main/.github/docs/own-task.md)" in text
    assert re.findall(r"\]\((?!https?://)", text) == []
    assert "<!--" not in text


def test_without_a_repository_nothing_leads_nowhere(describe):
    text = describe.described(README, "")
    assert "](" not in text
    assert "a task of your own" in text


def test_the_address_is_what_is_given_or_the_remote(describe, tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_REPOSITORY", "https://example.org/a/b/")
    assert describe.address(tmp_path) == "https://example.org/a/b"
    monkeypatch.delenv("L2L_REPOSITORY")
    assert describe.address(tmp_path) == ""
