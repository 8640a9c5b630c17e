"""l2l runs pretrained: — the rules that come with the program, described by their cards; no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator

from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.printable import size_text
from l2l_cli.core.suffixes import PRETRAINED, pretrained
from l2l_cli.core.voice import next_line
from l2l_cli.results.exported import ExportedRun, file_of
from l2l_cli.results.terminal import FoldingTable, console


def run(as_json: bool) -> int:
    """List the rules and return the command's exit code."""
    cards = [*_cards()]
    if as_json:
        for card in cards:
            print(json.dumps(card, ensure_ascii=False))
        return 0
    columns = {"rule": False, "task": False, "steps": True, "size": True, "on fresh episodes": False, "made by": False}
    rows = [
        [
            card["name"],
            card["task"],
            str(card["horizon"]),
            size_text(card["bytes"]),
            " ".join(_certified(card)),
            card["command"],
        ]
        for card in cards
    ]
    console().print(FoldingTable("rules that come with l2l", columns, rows))
    print(
        "in Python: load_optimizer(NAME, net.parameters()) of l2l_cli; where each of them is beaten: docs/pretrained.md"
    )
    if cards:
        print(next_line(["evaluate", f"{PRETRAINED}{cards[0]['name']}"]))
    return 0


def _cards() -> Iterator[Entries]:
    """Yield the card of each rule, with its name and the size of its file in bytes."""
    for name in pretrained():
        file = ExportedRun.load(file_of(name))
        yield {"name": name, "bytes": file.path.stat().st_size, **file.card}


def _certified(card: Node) -> Iterator[str]:
    """Yield the sentences of the certificates on a card."""
    for one in card["compared"]:
        yield from one.get("certificates", [])
