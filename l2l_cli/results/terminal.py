"""The terminal's width, and tables of text that fold where they would be wider; no pandas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from l2l_cli.core.printable import printable

WIDTH = 150
"""Width of a line in characters if the output is not a terminal."""

FRAME = 3
"""Characters of a line that a column takes in addition to its text."""


def console() -> Console:
    """Return the console for tables: as wide as the terminal, or ``WIDTH`` where there is none."""
    plain = Console(force_jupyter=False)  # Jupyter's output would bypass a redirection
    return plain if plain.is_terminal else Console(width=WIDTH, force_jupyter=False)


class FoldingTable:
    """A table that is printed as several, one below the other, where its lines would be wider than the terminal.

    Each of them begins with the columns that tell the rows apart, whose text is wrapped if necessary.  Numbers are
    never cut.

    Args:
        title: Title.
        columns: Whether each column is right-aligned, by its name.
        rows: Texts of the cells.
    """

    def __init__(self, title: str, columns: Mapping[str, bool], rows: Iterable[Sequence[str | Text]]) -> None:
        self.title = title
        self.columns = {printable(name): right for name, right in columns.items()}
        # Text, since a name in brackets would be read as markup and vanish.
        self.rows = [[Text(printable(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows]

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Yield the tables."""
        for number, part in enumerate(self._parts(options.max_width)):
            yield self._table(part, "" if number else self.title)

    def _parts(self, width: int) -> list[list[int]]:
        """Return the indices of the columns of each table."""
        widths = [max(cell.cell_len for cell in column) + FRAME for column in self._by_column()]
        every = list(range(len(widths)))
        if sum(widths) < width:
            return [every]
        keys = every[: self._telling()]
        parts = [keys.copy()]
        used = taken = min(sum(widths[index] for index in keys), width // 2)
        for index in every[len(keys) :]:
            if len(parts[-1]) > len(keys) and used + widths[index] >= width:
                parts.append(keys.copy())
                used = taken
            parts[-1].append(index)
            used += widths[index]
        return parts

    def _telling(self) -> int:
        """Return how many of the leading text columns are needed to tell all rows apart."""
        texts = [[cell.plain for cell in row] for row in self.rows]
        most = next((index for index, right in enumerate(self.columns.values()) if right), len(self.columns))
        for count in range(1, most + 1):
            if len({tuple(row[:count]) for row in texts}) == len(texts):
                return count
        return max(1, most)

    def _by_column(self) -> list[list[Text]]:
        return [[Text(name), *(row[index] for row in self.rows)] for index, name in enumerate(self.columns)]

    def _table(self, part: Sequence[int], title: str) -> Table:
        table = Table(title=Text(printable(title)) if title else None, title_justify="left", header_style="bold")
        names = list(self.columns)
        for index in part:
            right = self.columns[names[index]]
            table.add_column(Text(names[index]), justify="right" if right else "left", overflow="fold", no_wrap=right)
        for row in self.rows:
            table.add_row(*(row[index] for index in part))
        return table
