"""Markdown paragraphs as HTML: whatever names contain is escaped, and nothing is loaded from elsewhere."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

RULES = ("list", "emphasis", "backticks", "link", "escape")
"""Rules of Markdown that our paragraphs use; HTML, images, headings and tables are not among them."""


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("zero", {"html": False}).enable(list(RULES))


def block(text: str) -> Markup:
    """Return a paragraph or a list as HTML."""
    return Markup(_parser().render(text))


def inline(text: str) -> Markup:
    """Return text as HTML without a paragraph around it."""
    return Markup(_parser().renderInline(" ".join(text.split())))
