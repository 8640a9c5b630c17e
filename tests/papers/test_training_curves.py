"""Meta-training curves in reports, and what a recipe is held against: its sensitivity, and other images."""

from __future__ import annotations

import pandas as pd
import pytest

from l2l_cli.config.request import ReproduceRequest
from l2l_cli.papers import jobs
from l2l_cli.papers.experiments import experiment
from l2l_cli.papers.measured import SELECTED, TRAINING, VALIDATION
from l2l_cli.papers.training_curves import training_sections
from l2l_cli.results.metrics import Metric
from tests.image_tasks import idx_folder
from tests.papers.made_up import composed, costs, frame_of, measured_of

PAPER = "andrychowicz2016"


def course(row, seed, losses, selected=None):
    metric = Metric(row, seed, VALIDATION, 0.0, statistic="mean", split=TRAINING)
    rows = [metric._replace(value=loss, step=400 * (index + 1)) for index, loss in enumerate(losses)]
    return rows + ([] if selected is None else [metric._replace(metric=SELECTED, value=float(selected))])


def asked(*names):
    return [composed(PAPER, name) for name in names]


def sections_of(frames, folder, *names):
    measured = [measured_of(PAPER, name, frames, folder)[1] for name in names]
    return training_sections(asked(*names), measured, folder)


def test_a_training_is_shown_once_with_what_its_seeds_did(tmp_path):
    fall, rest = [2.3, 0.51, 0.56, 0.58, 0.37, 0.28], [2.3, 0.5, 0.3, 0.25, 0.25, 0.25]
    rows = [*course("LSTM", 0, fall, 2400), *course("LSTM", 1, rest, 1600), *costs("LSTM", 2)]
    (section,) = sections_of({"LSTM": frame_of(rows)}, tmp_path, "figure4_mnist", "figure5")
    (line,) = section.tables[0].to_dict("records")
    assert (line["row"], line["seeds"], line["updates"]) == ("LSTM", 2, "2400")
    assert (line["selected after"], line["still falling"], line["flat since"]) == ("1600 … 2400", "1 of 2", "1600")
    assert (
        section.text[0] == "**In 1 of 2 trainings the validation loss was still falling: more updates may do better.**"
    )
    assert section.figures[0].path.stat().st_size > 5000


def test_of_too_few_validations_nothing_is_judged(tmp_path):
    rows = [*course("LSTM", 0, [2.3, 0.5]), *costs("LSTM", 1)]
    (section,) = sections_of({"LSTM": frame_of(rows)}, tmp_path, "figure5")
    (line,) = section.tables[0].to_dict("records")
    assert line["still falling"] == "cannot be said"
    assert line["selected after"] == "–"
    assert line["rose"] == "–"
    assert section.text[0] == "1 training had too few or too noisy validations to tell."


def test_of_rows_that_were_kept_without_a_course_nothing_is_said(tmp_path):
    assert sections_of({"LSTM": frame_of(costs("LSTM", 1))}, tmp_path, "figure5") == []
    assert sections_of({"LSTM": pd.DataFrame()}, tmp_path, "figure5") == []


def test_a_course_is_no_contender(tmp_path):
    rows = [*course("LSTM", 0, [1.0, 0.5]), *costs("LSTM", 1)]
    measured = measured_of(PAPER, "figure5", {"LSTM": frame_of(rows)}, tmp_path)[1]
    assert measured.contenders == {}


def test_a_row_of_the_sensitivity_is_the_multiple_of_the_recipe_that_it_says():
    (one,) = asked("sensitivity")
    plain = one.configurations["LSTM"]
    changed = {name: row.x for name, row in one.settings.rows.items() if row.x}
    assert sorted(x["updates"] for x in changed.values()) == pytest.approx([0.5, 2 / 3, 1, 1, 1, 2])
    assert sorted(x["lr"] for x in changed.values()) == [0.5, 1, 1, 1, 1, 2]
    for row, x in changed.items():
        settings = one.configurations[row]
        assert settings.meta.updates == pytest.approx(x["updates"] * plain.meta.updates), row
        assert settings.optimizer["lr"] == pytest.approx(x["lr"] * plain.optimizer["lr"]), row
        # As many validations as the recipe has, so that one of them is no better chosen.
        counts = [each.meta.updates / each.meta.validate_every for each in (settings, plain)]
        assert counts[0] == pytest.approx(counts[1], rel=0.01), row


def test_ratios_are_those_of_each_seed(tmp_path):
    def scored(row, seed, factor):
        at = Metric(row, seed, "loss", 0.0, step=100, problem="base")
        return [
            *(at._replace(value=factor * (1 + episode), episode=episode) for episode in range(8)),
            at._replace(value=factor * 4.5, statistic="mean"),
        ]

    frames = {
        "LSTM": frame_of([*scored("LSTM", 0, 1.0), *scored("LSTM", 1, 3.0), *costs("LSTM", 2)]),
        "NAG": frame_of([*scored("NAG", 0, 4.0), *costs("NAG", 1)]),
    }
    artefact, measured = measured_of(PAPER, "sensitivity", frames, tmp_path)
    findings = artefact.judge(measured)
    (line,) = findings.sections[0].tables[0].to_dict("records")
    assert line["ratio"] == pytest.approx(0.5)
    assert line["ratio of each seed"] == "0.25 · 0.75"
    assert "1 of 1 ratios are" in findings.sections[0].text[0]
    assert {result.metric for result in findings.results if result.ours is not None} == {"loss@99"}


def test_ratios_to_a_learned_row_leave_it_out_and_name_it(tmp_path):
    def scored(row, factor):
        at = Metric(row, 0, "loss", 0.0, step=100, problem="base")
        return frame_of(
            [
                *(at._replace(value=factor * (1 + episode), episode=episode) for episode in range(8)),
                at._replace(value=factor * 4.5, statistic="mean"),
                *costs(row, 1),
            ]
        )

    frames = {"mixture": scored("mixture", 1.0), "without skip": scored("without skip", 2.0)}
    artefact, measured = measured_of(PAPER, "ablation", frames, tmp_path)
    (section, *_) = artefact.judge(measured).sections
    (line,) = section.tables[0].to_dict("records")
    assert (line["contender"], line["best rival"], line["ratio"]) == ("without skip", "mixture", pytest.approx(2.0))
    assert "lower mean loss than mixture; 0 of 1 ratios" in section.text[0]


def test_all_problems_of_the_transfer_take_the_data_of_the_first():
    request = ReproduceRequest(PAPER, scale="paper", overrides=("evaluation.problems.elsewhere.dataset=mine",))
    for settings in experiment(request, "transfer").configurations.values():
        problems = settings.evaluation.problems
        assert {problem["dataset"] for problem in problems.values()} == {"mine"}
        assert {tuple(problem["size"]) for problem in problems.values()} == {(28, 28)}
        assert sorted(problem.get("horizon", 100) for problem in problems.values()) == [100, 100, 500, 500, 1000, 1000]


def test_rows_are_measured_again_when_a_problems_own_data_change(tmp_path):
    words = (f"evaluation.problems.elsewhere.dataset={tmp_path}", "evaluation.problems.elsewhere.size=null")
    one = experiment(ReproduceRequest(PAPER, scale="paper", overrides=words), "transfer")
    (job,) = one.jobs["NAG"]
    names = []
    for count in (4, 5, 5):
        idx_folder(tmp_path, count)
        names.append(jobs._file_name(job, job.settings(tmp_path)))
    assert names[0] != names[1] == names[2]
