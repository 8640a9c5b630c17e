"""A report with all that a page can show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from l2l_cli.results.content import ABOUT, BEYOND, PAPER, Claim, Lead, Link, Report, Section
from l2l_cli.results.drawing import saved
from l2l_cli.results.plot import LIMIT_STYLE, curves, decorate, panels
from l2l_cli.results.tables import results_table
from l2l_cli.results.verdicts import summarise

LONG = "a row whose name is so long that it would push whatever stands beside it off any screen that a hand holds"


def drawn(folder: Path, name: str = "f"):
    """A figure of two panels: two contenders with bands, a limit and the paper's points."""
    figure, axes = panels(1, 2)
    steps = np.arange(1, 40)
    rows = [
        {"contender": who, "seed": seed, "step": step, "value": (1.0 + seed) / step**power}
        for who, power in (("lstm", 1.0), ("adam", 0.7), ("limit", 1.2))
        for seed in (0, 1)
        for step in steps
    ]
    for panel, log in zip(axes, ("", "xy"), strict=True):
        curves(panel, pd.DataFrame(rows), ["lstm", "adam", "limit"], {"limit": LIMIT_STYLE})
        panel.plot([5, 20], [0.3, 0.1], "o", markerfacecolor="none", label="paper (digitised)")
        panel.axvline(20)
        decorate(panel, f"log {log}", "updates", "loss", log)
    return saved(figure, folder / "figures" / name, "Loss against updates; bands: range over seeds.")


def whole(folder: Path, ribbon: str = "") -> Report:
    """The report, with its figures under ``folder``."""
    figure = drawn(folder)
    papers = {"a": 0.2, "b": 0.11, LONG: 0.05, "c": 0.3}
    results = [summarise(("table", name, "mse"), [0.1, 0.11, 0.12], paper) for name, paper in papers.items()]
    results.append(summarise(("table", "d", "mse"), [0.1, 0.5, 0.9], 0.4, note="a note of some length " * 6))
    table = pd.DataFrame({"contender": ["a", LONG], "share": [0.123, 0.5], **{f"column {i}": 1.0 for i in range(20)}})
    claims = [
        Claim("A, it wins", True, "1 < 2", "ratio 0.50, mark 0.90", "It wins", "A"),
        Claim("B, it wins", False, "e", "ratio 1.10, mark 0.90", "It wins", "B"),
        Claim("It ends", None, "f"),
    ]
    section = Section(
        "Table 1",
        ["Text."],
        [table],
        [drawn(folder, "g")],
        {"share": ".1%"},
        claims,
        "Who wins?",
        ["the domain"],
        "l2l reproduce paper table --scale short " + "and.one.more=override " * 4,
        PAPER,
    )
    lead = Lead(
        "Who wins?", ["We do.", "By much."], results_table(results[:2]).drop(columns="note"), figure, "l2l x", "Of one."
    )
    sections = [
        section,
        Section("Table 1: detail", ["More."], figures=[figure], part=PAPER, links=[Link("results.csv", "results.csv")]),
        Section("Ours", question="And then?", part=BEYOND),
        Section("All numbers", tables=[results_table(results)], part=ABOUT, folded=True),
    ]
    return Report("Title of a paper", ["Opening."], sections, lead, ribbon)
