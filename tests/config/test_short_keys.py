"""Entries that go to the node inside that takes them, from wherever they are set."""

from __future__ import annotations

from pathlib import Path

import pytest

from l2l_cli.config.build import Builder, build
from l2l_cli.config.compose import compose
from l2l_cli.core.errors import UsageError
from l2l_cli.runs.building import build_task, variation


class Part:
    def __init__(self, width: int = 1, shared: str = "", place: Path | None = None) -> None:
        self.width, self.shared, self.place = width, shared, place


class Other:
    def __init__(self, shared: str = "") -> None:
        self.shared = shared


class Whole:
    def __init__(self, part: Part, other: Other | None = None, height: int = 1) -> None:
        self.part, self.other, self.height = part, other, height


PART, OTHER = {"_target_": f"{__name__}.Part"}, {"_target_": f"{__name__}.Other"}
NODE = {"_target_": f"{__name__}.Whole", "part": PART, "other": OTHER}


def test_an_entry_goes_to_the_one_node_that_takes_it():
    node = {**NODE, "width": 4, "height": 3}
    found = build(node, "it")
    assert (found.part.width, found.height) == (4, 3)
    assert build({**NODE, "part": {**PART, "width": 4}}, "it").part.width == 4
    assert node["part"] == {"_target_": f"{__name__}.Part"}  # a node is never changed


def test_an_entry_goes_no_deeper_than_the_nodes_directly_inside():
    class_of = {"_target_": f"{__name__}.Outer", "whole": {k: v for k, v in NODE.items() if k != "other"}}
    assert build({**class_of, "height": 5}, "it").whole.height == 5
    with pytest.raises(UsageError, match=r"it.width: Outer has no such argument .*whole: part, other, height"):
        build({**class_of, "width": 5}, "it")


class Outer:
    def __init__(self, whole: Whole) -> None:
        self.whole = whole


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"shared": "x"}, r"it.shared could belong to part or other: write it.part.shared"),
        ({"width": 2, "part": {**PART, "width": 3}}, r"it.width and it.part.width are the same: leave one of them out"),
        ({"widht": 3}, r"it.widht: Whole has no such argument; did you mean 'width'\? .*; part: width, shared; other:"),
        ({"width": "x"}, r"it.part.width must be of type int, not 'x'"),
        ({"place": "here"}, r"it.place: Whole has no such argument"),
    ],
)
def test_what_no_node_takes_or_two_do_is_refused(entry, message):
    with pytest.raises(UsageError, match=message):
        Builder(place=None)({**NODE, **entry}, "it")


def test_what_is_offered_reaches_the_nodes_inside():
    assert Builder(place=Path("data"))(NODE, "it").part.place == Path("data")


def test_the_command_line_and_changes_of_the_settings_say_the_same():
    typed = build_task(compose("meta-train", ["task=digits", "task.hidden=[7]", "task.pool=2", "task.images=50"]))
    settings = compose("meta-train", ["task=digits"])
    changed = variation(settings, {"hidden": [7], "pool": 2, "images": 50}, "task")
    assert typed.model.shapes == changed.model.shapes
    assert typed.spec == changed.spec
    assert typed.model.size == 16 * 7 + 7 + 7 * 10 + 10
    with pytest.raises(UsageError, match=r"task.hidden and task.network.hidden are the same: leave one of them out"):
        variation(settings, {"network.hidden": [7]}, "task")
