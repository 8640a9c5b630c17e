"""The rules that come with the program: small, whole, each ahead of tuned Adam at home, the same in each version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from l2l_cli import load_optimizer
from l2l_cli.config.groups import options
from l2l_cli.config.schema import Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.suffixes import EXPORTED, PRETRAINED, SHIPPED, pretrained
from l2l_cli.results.exported import ExportedRun, file_of
from l2l_cli.runs.folders import load_run
from tests.test_cli import assert_refused, run

GOLDEN = Path(__file__).parent / "pretrained.json"
"""Where each rule has taken a network after ``STEPS`` steps."""

STEPS = 5

every_rule = pytest.mark.parametrize("name", pretrained())


def taken_to(name):
    """The parameters of a fixed line after some steps of a rule, by their sum and largest absolute value."""
    line = torch.nn.Linear(3, 2)
    with torch.no_grad():
        for value in line.parameters():
            value.copy_(torch.linspace(-1.0, 1.0, value.numel()).view_as(value))
    inputs = torch.linspace(-1.0, 2.0, 12).view(4, 3)
    optimizer = load_optimizer(name, line.parameters(), horizon=100)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = (line(inputs) - 1.0).square().mean()
        loss.backward()
        optimizer.step(loss=loss)
    values = torch.cat([value.detach().flatten() for value in line.parameters()])
    return [values.sum().item(), values.abs().max().item()]


def test_there_are_six_in_300_kilobytes():
    assert len(pretrained()) >= 6
    assert sum(path.stat().st_size for path in SHIPPED.glob(f"*{EXPORTED}")) <= 300_000
    assert {path.suffix for path in SHIPPED.iterdir()} == {EXPORTED}


def test_no_hand_made_rule_has_the_name_of_one():
    assert not {*pretrained()} & {*options("learner")}


@every_rule
def test_its_card_says_what_it_is_for_and_that_it_is_ahead_of_tuned_adam(name):
    card = ExportedRun.load(file_of(name)).card
    assert card["command"].startswith("l2l meta-train ")
    assert card["licence"] == "MIT"
    assert card["trust"] == []
    assert card["commit"]
    (compared,) = card["compared"]
    ours, theirs = (
        next(losses for who, losses in compared["losses"].items() if (who == "adam") is is_adam)
        for is_adam in (False, True)
    )
    assert ours["final"] < theirs["final"]
    assert compared["tuned_settings"]["adam"] >= 8
    (sentence,) = compared["certificates"]
    steps = compared["steps"]
    last = next(part for part in sentence.split("; ") if f"after {steps} steps" in part)
    assert "ahead" in last


@every_rule
def test_every_version_moves_as_the_one_that_shipped_it(name):
    assert taken_to(name) == pytest.approx(json.loads(GOLDEN.read_text())[name], rel=1e-3)


@every_rule
def test_nothing_of_the_machine_that_made_it_is_in_the_file(name):
    content = file_of(name).read_bytes()
    assert not [word for word in (b"/tmp/", b"/home/", b"/work/", b"/Users/") if word in content]


def test_a_name_stands_for_the_file_with_and_without_its_prefix():
    first, *_ = pretrained()
    found, saved = load_run(f"{PRETRAINED}{first}", Settings())
    assert found.path == file_of(first)
    assert taken_to(first) == taken_to(f"{PRETRAINED}{first}") == taken_to(str(file_of(first)))
    assert saved.choices["task"] == found.card["task"]


def test_a_name_that_there_is_not_is_refused_with_those_that_there_are(monkeypatch, capsys, tmp_path):
    with pytest.raises(UsageError, match=f"did you mean.*rules: {', '.join(pretrained())}"):
        load_run(f"{PRETRAINED}{pretrained()[0]}s", Settings())
    with pytest.raises(UsageError, match="neither a run's folder"):
        load_optimizer("nothing", torch.nn.Linear(1, 1).parameters())
    assert_refused("evaluate pretrained:nothing", "no rule 'nothing' comes with l2l", monkeypatch, capsys, tmp_path)


def test_they_are_listed_with_their_cards(monkeypatch, capsys, tmp_path):
    code, out, _ = run("runs pretrained: --json", monkeypatch, capsys)
    assert code == 0
    listed = [json.loads(line) for line in out.splitlines()]
    assert [card["name"] for card in listed] == pretrained()
    code, out, _ = run("runs pretrained:", monkeypatch, capsys)
    assert code == 0
    assert all(name in out for name in pretrained())
    assert_refused("runs pretrained: --watch", "lists the rules that come with l2l", monkeypatch, capsys, tmp_path)


def test_one_is_evaluated_and_compared_by_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "task.horizon=6 evaluation.episodes=8 tune.episodes=2"
    assert (
        run(f"evaluate --run pretrained:quadratic {small.replace(' tune.episodes=2', '')}", monkeypatch, capsys)[0] == 0
    )
    code, out, _ = run(f"compare pretrained:quadratic sgd {small} tune.budget=2", monkeypatch, capsys)
    assert code == 0
    assert "certificate: coordinatewise_lstm is " in out
