"""Measurements of studies that are committed: taken from the archive, judged anew in every digit, and none to spare."""

from __future__ import annotations

import pandas as pd
import pytest

from l2l_cli.commands import reproduce
from l2l_cli.config.groups import papers
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.core.errors import UsageError
from l2l_cli.papers.experiments import experiment
from l2l_cli.papers.jobs import Work, work_of
from l2l_cli.papers.measured import COSTS
from l2l_cli.papers.origin import RESULTS_FILE, archive_of, file_of_study, study_of
from l2l_cli.results.archive import PACKED, pack, unpack
from l2l_cli.results.metrics import Metric, csv_of
from l2l_cli.results.sealed import drop_if_damaged, write_rows
from tests.pages import class_of
from tests.pages.study import commit, merged

ROWS = [Metric("x", 0, metric, 0.1, split="cost") for metric in COSTS]
COMMITTED = [
    (paper, name)
    for paper in papers()
    for name in dict.fromkeys(line["artefact"] for line in study_of(class_of(paper)))
]


def work_for(paper: str, artefact: str, folder) -> Work:
    """What is left to do for an artefact of a study, with the archive at hand."""
    jobs = experiment(ReproduceRequest(paper, scale="study"), artefact).jobs
    return work_of([job for row in jobs.values() for job in row], folder, folder, archive_of(class_of(paper)))


def test_what_is_archived_comes_back_in_every_byte_and_sealed(tmp_path):
    there, file = tmp_path / "there.csv", tmp_path / "a, b-seed0-0a1b2c3d.csv"
    for each in (there, file):
        write_rows(each, ROWS)
    assert pack(tmp_path / "archive", [file]) == 1
    assert pack(tmp_path / "archive", [file]) == 0
    file.unlink()
    assert unpack(tmp_path / "archive", [there, file, tmp_path / "unknown.csv"]) == 1
    assert file.read_text(encoding="utf-8") == csv_of(ROWS)
    drop_if_damaged(file, COSTS)
    assert file.exists()


def test_a_damaged_file_of_the_archive_is_named_with_what_to_do(tmp_path):
    file = tmp_path / "a-seed0-0a1b2c3d.csv"
    write_rows(file, ROWS)
    pack(tmp_path / "archive", [file])
    file.unlink()
    packed = tmp_path / "archive" / f"{file.name}{PACKED}"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"0a1b2c3d\.csv\.xz is damaged .*remove it"):
        unpack(tmp_path / "archive", [file])
    assert not file.exists()


def test_a_folder_without_results_commits_nothing(tmp_path):
    """The committed results must not be taken for those of the folder."""
    before = file_of_study(class_of("bosc2016")).read_text(encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=RESULTS_FILE):
        commit("bosc2016", tmp_path)
    assert file_of_study(class_of("bosc2016")).read_text(encoding="utf-8") == before


def test_a_study_of_some_artefacts_leaves_the_others_as_they_were():
    old = pd.DataFrame({"artefact": ["table", "a", "a", "b"], "ours": ["1", "2", "3", "4"]})
    new = pd.DataFrame({"artefact": ["c", "a"], "ours": ["5", "6"]})
    found = merged(old, new, ["table", "a", "b", "c"])
    assert found.artefact.tolist() == ["table", "a", "b", "c"]
    assert found.ours.tolist() == ["1", "6", "4", "5"]


@pytest.mark.slow
@pytest.mark.parametrize(("paper", "artefact"), COMMITTED)
def test_committed_measurements_give_the_committed_numbers(paper, artefact, tmp_path):
    if not archive_of(class_of(paper)).is_dir() or work_for(paper, artefact, tmp_path).pieces:
        pytest.skip("its study is older than the archive of measurements")
    reproduce.run(ReproduceRequest(paper, (artefact,), "study", output=str(tmp_path)))
    ours, committed = (
        pd.read_csv(file, dtype=str, keep_default_na=False)
        for file in (tmp_path / RESULTS_FILE, file_of_study(class_of(paper)))
    )
    # A study of several artefacts names all of them in its command.
    committed = committed[committed.artefact == artefact].drop(columns="command").reset_index(drop=True)
    pd.testing.assert_frame_equal(ours.drop(columns="command"), committed)


@pytest.mark.slow
@pytest.mark.parametrize("paper", [paper for paper in papers() if archive_of(class_of(paper)).is_dir()])
def test_every_archived_measurement_is_of_the_present_study(paper, tmp_path):
    names = {file.name.removesuffix(PACKED) for file in archive_of(class_of(paper)).iterdir()}
    try:
        works = [work_for(paper, artefact, tmp_path) for artefact in papers()[paper]]
    except UsageError as error:
        pytest.skip(f"a row cannot be composed without its data: {error}")
    assert names <= {file.name for work in works for file in work.files.values()}
