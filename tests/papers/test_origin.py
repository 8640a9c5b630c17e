"""Where numbers come from: results.csv with its origins, the committed studies, and what of a paper is where."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import pandas as pd
import pytest

from l2l_cli.config.catalogue import listing
from l2l_cli.config.groups import papers
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.papers import origin
from l2l_cli.papers.base import Content, Paper
from l2l_cli.papers.experiments import experiment
from l2l_cli.papers.measured import BEGAN, COMMIT, COST, MACHINE, Measured
from l2l_cli.papers.origin import Origin, contents_table, identity_of_artefact, numbers_of_study, origin_of, study_of
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.metrics import Metric
from l2l_cli.results.verdicts import summarise
from tests.pages import class_of
from tests.papers.made_up import frame_of

KEY = ("table", "row", "mse")
ORIGIN = Origin(
    "0a1b2c3d", "2db7d32", "2026-11-27", "Linux x86_64, 2 cores", "l2l reproduce p table --scale study", "12.5"
)
FIRST = next(iter(papers()))
SMALL = min(papers()[FIRST], key=lambda name: len(listing(FIRST, name)[0]))
"""The artefact with the fewest rows."""


def test_results_survive_their_file(tmp_path):
    results = [
        summarise(KEY, [0.1, 0.2], 1 / 3, 0.05, 'a | b, "c"\nd'),
        summarise(KEY, [], None, None),
        summarise(KEY, [math.nan], 0.1, None),
    ]
    origin.write_results(tmp_path / "results.csv", results, {"table": ORIGIN})
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    header = "artefact,row,metric,paper,ours,sd,low,high,about,seeds,limit,ratio_to_limit,verdict,needs,counts,note"
    assert ",".join(rows[0]) == f"{header},identity,commit,date,machine,command,cpu_minutes"
    assert [row["note"] for row in rows] == [result.note for result in results]
    assert float(rows[0]["paper"]) == 1 / 3
    assert (rows[1]["paper"], rows[1]["verdict"], rows[2]["ours"]) == ("", "not run", "inf")
    assert rows[2]["identity"] == ORIGIN.identity


class Made(Paper):
    """A paper that is nowhere."""

    contents = (Content("Table 1", ["table"]), Content("Figure 9", (), "its network is lost"))

    def measure(self, subject):
        yield from ()


def test_a_committed_study_is_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(origin, "file_of_study", lambda paper: tmp_path / "results.csv")
    assert study_of(Made) == []
    assert list(contents_table(Made).remark) == ["no run is committed", "its network is lost"]
    run = summarise(KEY, [0.1, 0.11, 0.12], 0.2)
    one = summarise(("table", "other", "mse"), [0.5], None)
    section = Section(
        "Claims", claims=[Claim("a", True), Claim("b", None, "p = 0.2"), Claim("c", None), Claim("d", True)]
    )
    results = [run, one, summarise(KEY, [], 0.5), *origin.claims_of("table", [section])]
    origin.write_results(tmp_path / "results.csv", results, {"table": ORIGIN})
    assert numbers_of_study(Made) == {KEY: "0.110 [0.0852, 0.135]", ("table", "other", "mse"): "0.500"}
    first, last = contents_table(Made).to_dict("records")
    assert (first["scale"], first["run on"], first["seeds"], first["remark"]) == ("study", "2026-11-27", "1 to 3", "")
    assert (first["CPU-minutes"], first["claims held · failed · open"]) == ("12.5", "2 · 0 · 1")
    assert (last["artefact"], last["remark"]) == ("–", "its network is lost")


def test_an_origin_says_what_the_runs_have_said():
    one = experiment(ReproduceRequest(FIRST, scale="smoke"), SMALL)
    said = {COMMIT: "2db7d32", MACHINE: "Linux"}
    row = next(iter(one.jobs))
    cost = [Metric(row, seed, name, 0.0, split=COST, part=text) for seed in (0, 1) for name, text in said.items()]
    cost += [Metric(row, 0, BEGAN, 1.79e9, split=COST, part="training")]
    cost += [Metric(row, seed, name, 30.0, split=COST) for seed in (0, 1) for name in ("training", "scoring")]
    frames = {name: frame_of(cost) if name == row else pd.DataFrame() for name in one.settings.rows}
    found = origin_of(one, Measured(one.name, one.settings.rows, frames, None), "l2l x")
    assert (found.commit, found.machine, found.date, found.command) == ("2db7d32", "Linux", "2026-09-21", "l2l x")
    assert found.cpu_minutes == "2"
    assert found.identity == identity_of_artefact(one)


def test_an_identity_names_rows_seeds_and_what_judges_them():
    one = experiment(ReproduceRequest(FIRST, scale="smoke"), SMALL)
    row, (job, *_) = next((row, jobs) for row, jobs in one.jobs.items() if jobs)
    plain = identity_of_artefact(one)
    assert plain == identity_of_artefact(experiment(ReproduceRequest(FIRST, scale="smoke"), one.name))
    changed = replace(job, overrides=(*job.overrides, "evaluation.episodes=7"))
    assert identity_of_artefact(replace(one, jobs=one.jobs | {row: [changed]})) != plain
    assert identity_of_artefact(replace(one, jobs=one.jobs | {row: [job, replace(job, seed=1)]})) != plain
    settings = replace(one.settings, artefact=one.settings.artefact | {"title": "another"})
    assert identity_of_artefact(replace(one, settings=settings)) != plain


@pytest.mark.parametrize("paper", papers())
def test_every_committed_row_is_that_of_the_present_configuration(paper):
    identities = {line["artefact"]: line["identity"] for line in study_of(class_of(paper))}
    for artefact, said in identities.items():
        assert identity_of_artefact(experiment(ReproduceRequest(paper, scale="study"), artefact)) == said, artefact


@pytest.mark.parametrize("paper", papers())
def test_contents_name_artefacts_that_there_are_and_all_of_them(paper):
    contents = class_of(paper).contents
    named = {artefact for content in contents for artefact in content.artefacts}
    assert named <= set(papers()[paper])
    sources = {name: listing(paper, name)[2] for name in papers()[paper]}
    assert {name for name, source in sources.items() if "ours" not in source} <= named
    assert all(content.artefacts or content.why_not for content in contents)
