"""Overrides as nobody would type them: settings, or one line that says what is wrong, and nothing is written."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

import pytest
from hypothesis import strategies as st

from l2l_cli.commands.checks import check
from l2l_cli.config.compose import compose
from l2l_cli.config.groups import options
from l2l_cli.config.schema import GROUPS, Settings
from tests.fuzz.material import inside
from tests.fuzz.outcome import SLOW, Faults, digest_of, each, outcome

pytestmark = SLOW

COMMANDS = ("meta-train", "evaluate", "compare")

ODD = (
    *("", "null", "true", "-1", "0", "1", "1e400", "nan", "inf", "9" * 400, "0x1F", "1_000", "1e-400", "???", "~", "!"),
    *("[]", "{}", "[[[[1]]]]", "{a:{b:{c:[1,{}]}}}", "[1,2", "{a:1", "'", '"', "\\", "'a", "a b", "a,b", "a=b", "a: b"),
    *("${seed}", "${", "${oc.env:HOME}", "${oc.env:NOWHERE}", "${oc.decode:'[1'}", "${.}", "${..seed}", "${nowhere}"),
    *(
        "${now:%Y}",
        "${hydra:job.name}",
        "choice(1,2)",
        "range(1,5)",
        "glob(*)",
        "extend_list(1)",
        "int(abc)",
        "sort(3,1)",
    ),
    *(
        "\x00",
        "\x1b[31mred",
        "\r",
        "\n",
        "a\nb",
        "\t",
        "\u202e",
        "\ud800",
        "ä",
        "日本語",
        "𝔘",
        "\u2028",
        "<script>",
        "[bold]",
    ),
    *("../../x", "/tmp/x", "a/b", ".", "..", "x" * 3000, "{_target_:tests.fuzz.canary.Boom}", "tests.fuzz.canary.Boom"),
    *("{_target_:os.system,command:'true'}", "@", "@x", "quadratic@task", "[" * 500, "{a:" * 200, "1,2,3", "a:b:c"),
)
"""Values; sweeps, functions, interpolations and unfinished quotations among them."""

STRANGE = (
    *(
        "nowhere",
        "task.nowhere",
        "meta",
        "hydra.run.dir",
        "hydra/launcher",
        "hydra.mode",
        "defaults",
        "_target_",
        "",
        ".",
    ),
    *("..", "a..b", "task.", ".task", "task@x", "task@:", "a/b", "/task", "task/quadratic", "ä", "x" * 300, "\x1b[31m"),
    *("task._target_", "learner.rule._target_", "hydra.sweep.dir", "hydra.searchpath", "+", "~", "a b", "$", "${seed}"),
    *(
        "choices",
        "overrides",
        "choices.task",
        "config_dir",
        "0",
        "[0]",
        "stretch[0]",
        "evaluation.stretch.0",
        "experiment",
    ),
)
"""Keys that no configuration has, that users are not to set, and that are no keys."""


@cache
def keys() -> list[str]:
    """All keys that there are."""

    def walk(node: dict[str, Any], prefix: str) -> list[str]:
        found = []
        for key, value in node.items():
            found.append(prefix + key)
            if isinstance(value, dict):
                found += walk(value, f"{prefix}{key}.")
        return found

    return walk(asdict(compose("meta-train", [])), "")


def values() -> st.SearchStrategy[str]:
    leaf = st.sampled_from(ODD) | st.sampled_from(ODD) | st.text(max_size=12) | st.integers().map(str)
    quoted = leaf.map(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'")
    either = quoted | leaf
    lists = st.lists(either, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
    mappings = st.tuples(st.sampled_from(["a", "''", "1", "_target_", "hidden"]), either).map(
        lambda pair: f"{{{pair[0]}:{pair[1]}}}"
    )
    return either | either | lists | mappings


def overrides() -> st.SearchStrategy[str]:
    known, strange = st.sampled_from(keys()), st.sampled_from(STRANGE) | st.text(max_size=12)
    choices = st.tuples(
        st.sampled_from(GROUPS), st.sampled_from(["", "null", "quadratc", "[a,b]", "../x", "x/y", "'a b'"])
    )
    chosen = st.sampled_from([f"{group}={name}" for group in GROUPS for name in options(group)])
    sign = st.sampled_from(["", "", "", "", "+", "++", "~"])
    pair = st.tuples(sign, known, values()).map(lambda parts: f"{parts[0]}{parts[1]}={parts[2]}")
    odd = st.tuples(sign, strange, values()).map(lambda parts: f"{parts[0]}{parts[1]}={parts[2]}")
    bare = st.tuples(st.sampled_from(["~", "~", "+", ""]), known | strange).map("".join)
    return pair | pair | pair | odd | bare | chosen | choices.map("=".join)


@pytest.mark.parametrize("command", COMMANDS)
def test_any_overrides(command, tmp_path, tally):
    faults, before = Faults(), digest_of(tmp_path)

    def composed(given: list[str]) -> object:
        settings = compose(command, given)
        assert isinstance(settings, Settings)
        flags: dict[str, Any] = {"resume": None, "run_folder": "x", "learners": ["adam"], "runs": []}
        needed = {"meta-train": ["resume"], "evaluate": ["run_folder"], "compare": ["learners", "runs"]}[command]
        check(command, settings, {name: flags[name] for name in needed} | {"trust": []}, alone=True)
        return None

    def case(given: list[str]) -> None:
        with inside(tmp_path):
            ended = outcome(lambda: composed(given), tmp_path / "nowhere")
        if digest_of(tmp_path) != before:
            ended = ended._replace(fault=f"{ended.fault}; wrote a file")
        faults.judge(given, ended)

    each(st.lists(overrides(), min_size=1, max_size=2), 0.12 / len(COMMANDS), case)
    tally(faults)
