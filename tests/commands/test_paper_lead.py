"""The first screen of a report: an answer, the numbers, what fails, and what it has cost."""

from __future__ import annotations

import pytest

from l2l_cli.commands import paper_lead
from l2l_cli.commands.paper_lead import lead_of
from l2l_cli.config.request import ReproduceRequest
from l2l_cli.papers.base import Findings, Paper
from l2l_cli.papers.experiments import experiments
from l2l_cli.papers.headline import Headline
from l2l_cli.results.content import Claim, Section
from l2l_cli.results.verdicts import summarise

REQUEST = ReproduceRequest("hochreiter2001", artefacts=("drift",), scale="short")


class MadeUp(Paper):
    title = citation = "Made up"
    headline = Headline("Does it win?", "error", {"base": ("a", "x", "mse")}, "", decided_by="It wins")

    def measure(self, subject):
        yield from ()


def lead(holds, number="1 < 2", paper=0.2):
    result = summarise(("a", "x", "mse"), [0.1, 0.11, 0.12], paper, 0.05)
    claims = [Claim("It wins by far", holds, "one seed", number), Claim("It lasts", False, "no")]
    found = [Findings([result], [Section("a", claims=claims)])]
    return lead_of(MadeUp(), REQUEST, experiments(REQUEST), found, 12.0)


@pytest.mark.parametrize(
    ("notes", "named"),
    [
        (["÷ Adam, 1.5", "÷ Adam, 1.5"], "÷ Adam"),
        (["÷ Adam, all tuned, 1.5"], "÷ Adam, all tuned"),
        (["÷ Adam, 1.5", "÷ NAG, 1.5"], "÷ best"),  # to one here, to another there
        (["", ""], "÷ best"),
    ],
)
def test_a_column_of_ratios_says_what_they_are_to(notes, named):
    lines = {f"line {index}": ("a", f"x{index}", "mse") for index in range(3)}
    headline = Headline("Does it win?", "error", lines, "", beside={"÷ best": "÷ best"})
    ratios = [summarise(("a", f"x{index}", "÷ best"), [0.9], None, note=note) for index, note in enumerate(notes)]
    table = headline.table([*(summarise(key, [0.1], None) for key in lines.values()), *ratios])
    assert list(table) == ["error", "ours [95 %]", named]
    assert list(table[named]) == ["0.900"] * len(notes) + [""] * (3 - len(notes))


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        (True, "**Yes**: the claim “It wins by far” holds (1 < 2)."),
        (False, "**No**: the claim “It wins by far” fails (1 < 2)."),
        (None, "**Open**: the claim “It wins by far” is not decided (1 < 2)."),
    ],
)
def test_the_deciding_claim_answers_the_question(holds, said):
    assert lead(holds).answer[0] == said


def test_without_a_claim_that_decides_the_first_is_stated(monkeypatch):
    monkeypatch.setattr(MadeUp, "headline", None)
    assert lead(None).answer[0] == "The claim “It wins by far” is not decided (1 < 2)."
    assert lead(True).answer[0] == "The claim “It wins by far” holds (1 < 2)."
    assert next(iter(lead(True).table)) == "mse"  # the one metric of all its rows


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Ours, it lasts", "our own claim “it lasts”"),
        ("Ours: it lasts", "our own claim “it lasts”"),
        ("Claim 2, it lasts", "the paper's “Claim 2, it lasts”"),
        ("It lasts", "the claim “It lasts”"),
    ],
)
def test_the_claim_that_decides_is_said_to_be_whose_it_is(text, named):
    assert paper_lead._named(text) == named


def test_claims_of_ours_are_counted_apart():
    claims = [Claim("Ours, it wins", True, "one seed"), Claim("It lasts", False, "no")]
    assert paper_lead._claims(claims) == "Of 1 claim, 1 fails; of 1 claim of ours, 1 holds"


def test_the_answer_counts_numbers_and_claims_and_names_what_fails():
    answer = lead(True).answer
    assert len(answer) == 5
    assert answer[1] == "Of 1 published number: 1 better than published."
    assert answer[2] == "In the table our results are 2.20 times the limit, the best possible result."
    assert answer[3] == "Of 2 claims, 1 holds, 1 fails; **fails**: “It lasts”."
    assert answer[4].endswith("12.0 CPU-minutes in total.")


def test_a_failure_is_named_with_the_number_that_decides_it_and_what_differs_with_its_metric():
    result = summarise(("a", "x", "sd"), [0.1, 0.11, 0.12], 0.2, lower_is_better=None)
    claims = [Claim("It lasts", False, "no", "ratio 1.1, mark 1")]
    answer = lead_of(
        MadeUp(), REQUEST, experiments(REQUEST), [Findings([result], [Section("a", claims=claims)])], 1.0
    ).answer
    assert "Of 1 published number: 1 different where neither side is better (sd)." in answer
    assert "Of 1 claim, 1 fails; **fails**: “It lasts” (ratio 1.1, mark 1)." in answer


def test_each_row_that_is_worse_than_published_is_named_once_and_those_beyond_three_are_counted():
    rows = ["SGD", "SGD", "SGD", "NAG", "Adam", "LSTM", "LSTM"]
    results = [summarise(("a", row, f"loss@{at}"), [2.0, 2.1, 2.2], 1.0) for at, row in enumerate(rows)]
    results.append(summarise(("a", "SGD", "loss@99"), [2.0, 2.1, 2.2], 4.0))
    answer = lead_of(MadeUp(), REQUEST, experiments(REQUEST), [Findings(results)], 12.0).answer
    assert any("; **worse**: SGD (3 of its 4); NAG; Adam; and 1 more row." in sentence for sentence in answer)


def test_the_table_has_ours_as_a_multiple_of_the_papers_number():
    (row,) = lead(True).table.to_dict("records")
    assert (row["ours ÷ paper"], row["ours ÷ limit"]) == ("0.55", "2.20")
    assert "ours ÷ paper" not in lead(True, paper=None).table
