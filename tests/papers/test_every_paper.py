"""What holds for every paper of conf/ without knowing its name."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from l2l_cli.config.catalogue import listing
from l2l_cli.config.groups import config_root, papers
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.core.errors import UsageError
from l2l_cli.papers.experiments import experiment, experiments
from l2l_cli.runs.building import build_learner, build_task
from tests.papers.made_up import composed
from tests.test_cli import run

ARTEFACTS = [(paper, name) for paper, names in papers().items() for name in names]

IDS = ["/".join(names) for names in ARTEFACTS]

FIRST = {(paper, names[0]) for paper, names in papers().items()}
"""An artefact of each paper, which stands for the others in the quick tests."""


@pytest.mark.parametrize(("paper", "name"), ARTEFACTS, ids=IDS)
def test_an_experiment_asks_a_question_and_names_its_source(paper, name):
    settings = composed(paper, name).settings
    assert settings.question.endswith("?")
    assert settings.source
    assert set(settings.scales) >= {"smoke", "short", "study", "paper"}
    assert listing(paper, name) == (settings.rows, settings.scales, settings.source)  # read without Hydra


@pytest.mark.parametrize(
    ("paper", "name"),
    [pytest.param(*one, id="/".join(one), marks=() if one in FIRST else pytest.mark.slow) for one in ARTEFACTS],
)
def test_a_renamed_row_is_refused_when_the_configuration_is_composed(paper, name, tmp_path):
    one = composed(paper, name)
    needed = [*one.artefact.refers_to(), *(row for rows in one.settings.published.values() for row in rows)]
    if not needed:
        pytest.skip("no row of this artefact is referred to by its name")
    # Rows may stand in a part that several artefacts share, so the whole folder is copied.
    folder = tmp_path / "experiment" / "copy"
    folder.mkdir(parents=True)
    pattern, renamed = re.compile(rf'^  "?{re.escape(needed[0])}"?: {{', re.MULTILINE), 0
    for file in (config_root() / "experiment" / paper).glob("*.yaml"):
        text, count = pattern.subn("  renamed: {", file.read_text().replace(f"{paper}/_", "copy/_"))
        (folder / file.name).write_text(text)
        renamed += count
    assert renamed
    with pytest.raises(UsageError, match="row"):
        experiment(ReproduceRequest("copy", scale="paper", config_dir=str(tmp_path)), name)


@pytest.mark.slow
@pytest.mark.parametrize("paper", papers())
def test_every_row_composes(paper):
    jobs = {
        job.key: job
        for one in experiments(ReproduceRequest(paper, scale="smoke"))
        for row in one.jobs.values()
        for job in row
    }
    for job in jobs.values():
        settings = job.settings(Path())
        learner = build_learner(settings, build_task(settings))
        assert learner.is_meta_trained == (job.row.role in ("learned", "best known")), job.name


@pytest.mark.slow
@pytest.mark.parametrize("paper", papers())
def test_smoke_through_the_command_line(paper, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(f"reproduce {paper} --scale smoke --output here", monkeypatch, capsys)[0] == 0
    frame = pd.read_csv("here/results.csv")
    assert not frame[frame.verdict != "not run"].ours.isna().any()
    for figure in Path("here/figures").glob("*.png"):
        assert figure.stat().st_size > 5000
    # The same command finds everything done.
    assert run(f"reproduce {paper} --scale smoke --output here", monkeypatch, capsys)[0] == 0
