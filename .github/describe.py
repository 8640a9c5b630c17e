"""What a package index shows of l2l, for hatchling: README whose links and pictures lead to the repository, and URLs.

The repository's address is L2L_REPOSITORY, as in https://example.org/group/l2l, or else that of the git remote
"origin", without the name and password that it may hold.  Where neither is known there is no place to lead to: pictures
are left out, and links are their text alone.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)\s]+)\)")
"""A link or picture whose target lies in the repository."""

MARKS = re.compile(r"<!-- .*? -->\n?")
"""Comments that say how a block is tested."""


def address(root: Path) -> str:
    """Return the address of the repository for browsers; empty if it is not known."""
    if given := os.environ.get("L2L_REPOSITORY"):
        return given.rstrip("/")
    if not (root / ".git").exists():  # unpacked in a repository of something else
        return ""
    question = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        found = subprocess.run(question, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git here
        return ""
    found = re.sub(r"^git@([^:]+):", r"https://\1/", found).removesuffix(".git")
    found = re.sub(r"^https://[^/@]*@", "https://", found)
    return found if found.startswith("https://") else ""


def described(text: str, repository: str) -> str:
    """Return README as it stands on its own, away from the repository."""

    def absolute(match: re.Match[str]) -> str:
        picture, label, target = match.groups()
        if not repository:
            return "" if picture else label
        return f"{picture}[{label}]({repository}/{'raw' if picture else 'blob'}/main/{target})"

    return LINK.sub(absolute, MARKS.sub("", text))


class CustomMetadataHook(MetadataHookInterface):
    """Fills in what pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, object]) -> None:
        """Set the long description and, where the repository is known, the URLs."""
        root = Path(self.root)
        repository = address(root)
        text = described((root / "README.md").read_text(encoding="utf-8"), repository)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = (
            {
                "Repository": repository,
                "Documentation": f"{repository}/blob/main/.github/docs/using.md",
                "Changelog": f"{repository}/blob/main/CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }
            if repository
            else {}
        )
