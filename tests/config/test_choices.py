"""What ``--help`` says of a choice: each option of its YAML, with what it is."""

from __future__ import annotations

import pytest

from l2l_cli.commands.choice_help import DESCRIBED, asked, print_choices
from l2l_cli.config.choices import arguments_of, choice_of
from l2l_cli.config.compose import compose
from l2l_cli.config.groups import options

ALL = [(group, name) for group in DESCRIBED for name in options(group)]


def leaves(node, prefix=""):
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        elif name != "_target_":
            yield f"{prefix}{name}"


@pytest.mark.parametrize(("group", "name"), ALL)
def test_every_choice_says_what_it_is(group, name):
    choice = choice_of(group, name)
    assert choice.description, "its first line is no comment"
    assert all(option.key.startswith(("learner.", "tune.", f"{group}.")) for option in choice.options.values())


@pytest.mark.parametrize(("group", "name"), [("task", "digits"), ("learner", "mlhf"), ("learner", "lstm1997")])
def test_its_options_are_those_of_the_configuration(group, name):
    composed = getattr(compose("meta-train", [f"{group}={name}"]), group)
    shown = choice_of(group, name).options
    assert set(shown) == set(leaves(composed, f"{group}."))
    assert shown[f"{group}.{'horizon' if group == 'task' else 'initial_seed' if name == 'lstm1997' else 'rule.lr'}"]


def test_what_a_choice_changes_of_another_takes_its_place():
    shown = choice_of("learner", "coordinatewise_lstm_momenta").options
    assert shown["learner.rule.preprocess.decays"].default == "[0.5, 0.9, 0.95]"
    assert "learner.rule.preprocess" not in shown
    assert shown["learner.rule.output_scale"].default == "0.1"
    assert shown["learner.rule.output_scale"].type == "float"
    assert choice_of("learner", "mlhf").sets == ["gradient=mlhf"]


def test_meanings_are_comments_or_else_docstrings():
    shown = choice_of("task", "digits").options
    assert shown["task.start"].meaning == "standard deviation of θ₀"
    assert shown["task.horizon"].meaning == "Number of optimization steps in an episode."
    assert shown["task.horizon"].type == "int"


def test_a_choice_of_ones_own_is_read_without_importing_it(tmp_path, capsys):
    (tmp_path / "task").mkdir()
    (tmp_path / "task/mine.yaml").write_text(
        "# Mine, [bold]all[/] of it.\n_target_: mine.Mine\nlevel: 3\nother: {a: 1}\n"
    )
    (tmp_path / "mine.py").write_text(
        'raise SystemExit("imported")\n\n\nclass Mine:\n    """Mine.\n\n    Args:\n        level: How high, of\n'
        '            ten.\n    """\n\n    def __init__(self, level: Literal["low", "high"] = "low"):\n        pass\n'
    )
    print_choices(["task=mine"], "meta-train", str(tmp_path))
    out = capsys.readouterr().out
    assert "Mine, [bold]all[/] of it." in out
    assert "task.level=3  low | high\n      How high, of ten.\n" in out
    assert "task.other={a: 1}" in out
    print_choices(["task"], "meta-train", str(tmp_path))
    assert "mine " in capsys.readouterr().out
    assert arguments_of("no.such.Module") == {}


def test_help_is_asked_of_groups_and_choices_alone():
    assert asked(["meta-train", "task=digits", "learner", "-h"]) == ["task=digits", "learner"]
    assert asked(["meta-train", "task=digits"]) == []
    assert asked(["compare", "adam", "meta.updates=3", "--help"]) == []
