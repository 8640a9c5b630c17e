"""What a package index shows of the program, away from its repository."""

from __future__ import annotations

import importlib.util
import re
import subprocess
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


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://example.org/a/b.git", "https://example.org/a/b"),
        ("https://name:secret@example.org/a/b", "https://example.org/a/b"),
        ("https://secret@example.org/a/b", "https://example.org/a/b"),
        ("git@example.org:a/b.git", "https://example.org/a/b"),
        ("/srv/git/b", ""),
    ],
)
def test_the_remote_is_an_address_for_browsers_and_keeps_its_password(remote, address, describe, tmp_path, monkeypatch):
    monkeypatch.delenv("L2L_REPOSITORY", raising=False)
    for words in (["init", "--quiet"], ["remote", "add", "origin", remote]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    assert describe.address(tmp_path) == address
    (tmp_path / "inner").mkdir()  # what is unpacked there is no part of that repository
    assert describe.address(tmp_path / "inner") == ""
