"""Commit a study: ``python -m tests.pages.study PAPER FOLDER``, the folder of ``l2l reproduce PAPER --scale study``.

The numbers of each artefact that ran take the place of those that are committed of it; measurements are added.
"""

import sys
from pathlib import Path

import pandas as pd

from l2l_cli.config.request import ReproduceRequest
from l2l_cli.core.files import atomic_write
from l2l_cli.papers.agenda import artefacts_of
from l2l_cli.papers.origin import RESULTS_FILE, archive_of, file_of_study
from l2l_cli.results.archive import pack
from tests.pages import class_of


def merged(old: pd.DataFrame, new: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Lines of results.csv, those of new artefacts in the place of the old ones, by the order of the paper's report."""
    lines = pd.concat([old[~old.artefact.isin(new.artefact)], new])
    return lines.sort_values("artefact", key=lambda names: names.map(order.index), kind="stable")


def commit(paper: str, folder: Path) -> str:
    """Commit what a folder has of a paper's study; the result says what that was.

    Raises:
        FileNotFoundError: The folder has no results.
    """
    place, archive = file_of_study(class_of(paper)), archive_of(class_of(paper))
    new = _lines_of(folder / RESULTS_FILE)
    lines = merged(_lines_of(place) if place.is_file() else new[:0], new, artefacts_of(ReproduceRequest(paper)))
    atomic_write(place, lines.to_csv(index=False, lineterminator="\n"))
    count = pack(archive, sorted((folder / "rows").glob("*.csv")))
    return f"{paper}: {', '.join(new.artefact.unique())}; {count} rows' measurements"


def _lines_of(file: Path) -> pd.DataFrame:
    """Lines of a results.csv, all of them text."""
    return pd.read_csv(file, dtype=str, keep_default_na=False)


if __name__ == "__main__":
    print(commit(sys.argv[1], Path(sys.argv[2])))
