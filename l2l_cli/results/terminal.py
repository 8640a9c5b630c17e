"""The terminal: as wide as it is, and tables of text in it; no pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from l2l_cli.core.printable import printable

WIDTH = 150
"""Characters of a line where the output is not a terminal."""


def console() -> Console:
    """Return the console for tables: as wide as the terminal, or ``WIDTH`` where there is none."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=WIDTH)


def text_table(title: str, columns: Mapping[str, bool], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table of texts; ``columns`` says of each column by its name whether it is set to the right."""
    table = Table(title=Text(printable(title)), title_justify="left", header_style="bold")
    for name, right in columns.items():
        table.add_column(Text(printable(name)), justify="right" if right else "left")
    for row in rows:
        # Text, for a name in brackets would be read as markup and vanish.
        table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in row))
    return table
