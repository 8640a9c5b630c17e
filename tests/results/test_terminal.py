"""Tables in the terminal: they fold where they are too wide, and cut nothing."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from l2l_cli.results.terminal import FoldingTable

WIDE = {"problem": False, "contender": False, **{f"loss after {mark} updates": True for mark in (5, 20, 99)}}
ROWS = [["base", f"a contender, number {number}", f"0.{number}1", "0.123", "4.5e-06"] for number in range(3)]


def printed(table, width):
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(table)
    return out.getvalue()


def test_a_table_that_fits_is_one():
    text = printed(FoldingTable("Losses", WIDE, ROWS), 150)
    assert text.count("┏") == 1
    assert text.startswith("Losses")


@pytest.mark.parametrize("width", [60, 80])
def test_a_wide_table_is_several_that_name_their_rows(width):
    text = printed(FoldingTable("Losses", WIDE, ROWS), width)
    assert text.count("┏") > 1
    assert text.count("Losses") == 1
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for table in text.split("┏")[1:]:
        names = re.sub(r"[│┃\s]+", " ", table)
        assert all(re.search(rf"number\s.*{number}", names) for number in range(3)), table
    numbers = re.findall(r"[\d.]+e-\d+|0\.\d+", text)
    assert sorted(numbers) == sorted(cell for row in ROWS for cell in row[2:])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.text("ab c", max_size=30), min_size=3, max_size=3), max_size=4),
    st.lists(st.integers(0, 10**9), min_size=2, max_size=6),
    st.integers(60, 120),
)
def test_no_number_is_cut(texts, values, width):
    columns = {"a": False, "b": False, "c": False} | {f"column {index}": True for index in range(len(values))}
    rows = [[*each, *map(str, values)] for each in texts]
    text = printed(FoldingTable("x", columns, rows), width)
    found = re.findall(r"\d+", re.sub(r"column \d", "", text))
    assert sorted(found) == sorted(str(value) for value in values for _ in rows)
