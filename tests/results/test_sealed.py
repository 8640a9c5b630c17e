"""Rows beside their checksum: whole, or made anew."""

from __future__ import annotations

import pytest

from l2l_cli.core.errors import UsageError
from l2l_cli.results.metrics import Metric, MetricsFile
from l2l_cli.results.sealed import drop_if_damaged, write_rows

ROWS = [Metric("a", 0, name, 1 / 3, step) for step in range(3) for name in ("loss", "seconds")]


@pytest.fixture
def file(tmp_path):
    write_rows(tmp_path / "x.csv", ROWS)
    return tmp_path / "x.csv"


def test_whole_rows_stay(file, capsys):
    drop_if_damaged(file, ["loss", "seconds"])
    assert MetricsFile(file).read().value.tolist() == [1 / 3] * 6
    file.with_name(".x.csv.xxh3").unlink()  # as older versions left it
    drop_if_damaged(file, ["loss", "seconds"])
    assert file.exists()
    drop_if_damaged(file.with_name("none.csv"), [])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("seal", [True, False])
@pytest.mark.parametrize("damage", ["torn", "cut", "empty", "flipped", "text"])
def test_damaged_rows_go(file, damage, seal, capsys):
    data = file.read_bytes()
    lines = data.splitlines(keepends=True)
    file.write_bytes(
        {
            "torn": data[:-3],
            "cut": b"".join(lines[:1]),
            "empty": b"",
            "flipped": data.replace(b"loss", b"lnss"),
            "text": b"\xff\x00\n",
        }[damage]
    )
    if not seal:
        file.with_name(".x.csv.xxh3").unlink()
    drop_if_damaged(file, ["loss", "seconds"])
    assert not file.exists()
    assert f"warning: {file} is damaged; it is measured again" in capsys.readouterr().err


def test_a_flipped_digit_is_seen_by_the_checksum_alone(file):
    file.write_bytes(file.read_bytes().replace(b"0.333", b"0.133", 1))
    drop_if_damaged(file, ["loss", "seconds"])
    assert not file.exists()


def test_a_link_is_no_file_of_rows(file):
    other = file.with_name("y.csv")
    other.symlink_to(file)
    with pytest.raises(UsageError, match="is a link"):
        drop_if_damaged(other, [])
