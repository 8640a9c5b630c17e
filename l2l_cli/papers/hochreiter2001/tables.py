"""Tables 1 and 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.hochreiter2001.measures import error_curves, limit_of, plateau, values_of
from l2l_cli.papers.hochreiter2001.published import RTRL, TABLE2, Published
from l2l_cli.results.frame import Result, summarise
from l2l_cli.results.plot import curves, decorate, dots, panels, save
from l2l_cli.results.report import Figure, Section

SUCCESS = 0.06
"""Test MSEt below which B14 counts as learned: within four times the limit (ours; the paper has no criterion)."""

MISPRINT = (
    "The printed MSEt of the semi-linear row with 64 examples, 0.0007 / 0.0008, cannot be reached by any learner.  "
    "MSEt averages the squared error over *all* steps, the first included.  Before the first example the best answer "
    "is ½, and its expected squared error is E[(y − ½)²] = 0.0758 for x ~ U[−1, 1]²; spread over 64 steps, that one "
    "step alone contributes 0.0758 / 64 = 0.00118.  Even if x were always 0 it would contribute 0.0596 / 64 = "
    "0.00093.  The second and third steps cannot be predicted exactly either; the limit with them is {limit:.5f}.",
    "Two misprints would explain the row: a lost factor of ten (0.007 / 0.008, which would agree with the reported 10 "
    "examples to learn a function), or the MSEt of the two semi-linear rows exchanged (0.0020 / 0.0025 at 64 and "
    "0.0007 / 0.0008 at 1000 examples, both then above their limits).  Ours, {ours:.5f}, is {ratio:.2f} × the limit; "
    "below the first reading (0.008): {first}; below the second (0.0025): {second}.",
)


def table1(frame: pd.DataFrame) -> Artefact:
    """Judge the LSTM's row, the only one that this recipe runs."""
    published = TABLE2["B14-64"]
    learned = values_of(frame, "lstm", "test")
    share = f"{sum(value < SUCCESS for value in learned)} of {len(learned)} seeds succeed (test MSEt < {SUCCESS})"
    results = [
        summarise(
            ("table1", "LSTM", f"{split}_mse"), values_of(frame, "lstm", split), paper, limit_of(frame, split), share
        )
        for split, paper in (("train", published.train_mse), ("test", published.test_mse))
    ]
    others = "the networks that the paper finds to fail need their own learning rules, which this recipe does not run"
    for split, paper in RTRL.items():
        results.append(summarise(("table1", "RTRL", f"{split}_mse"), [], paper, note=others))
    text = f"{share}.  Of the rows that the paper finds to fail it prints numbers for RTRL alone; {others}."
    return Artefact(results, [Section("Table 1: the LSTM's row", [text])])


def table2(rows: Mapping[str, pd.DataFrame], folder: Path) -> Artefact:
    """Judge all five rows and explain the misprint."""
    results: list[Result] = []
    for row, published in TABLE2.items():
        results += _row_results(row, rows.get(row, pd.DataFrame()), published)
    run = {row: frame for row, frame in rows.items() if len(frame)}
    tests = [result for result in results if result.metric == "test_mse" and result.seeds]
    sections = [
        Section("Table 2: error of five families", _table2_text(), figures=[_dots(tests, folder), _steps(run, folder)])
    ]
    misprinted = next((result for result in tests if result.row == "semilinear-64"), None)
    if misprinted is not None:
        sections.append(_misprint(misprinted))
    return Artefact(results, sections)


def _row_results(row: str, frame: pd.DataFrame, published: Published) -> list[Result]:
    impossible = row == "semilinear-64"
    note = "printed value lies below the limit; see the section on the misprint" if impossible else ""
    bound = "limit: error of the best linear predictor, an upper bound of the best possible" if "quad" in row else ""
    results = [
        summarise(
            ("table2", row, f"{split}_mse"),
            values_of(frame, "lstm", split),
            paper,
            limit_of(frame, split),
            note or bound,
        )
        for split, paper in (("train", published.train_mse), ("test", published.test_mse))
    ]
    threshold = published.subordinate_mse
    plateaus = [plateau(curve, threshold) for curve in error_curves(frame, "lstm")]
    best = [plateau(curve, threshold)[0] for curve in error_curves(frame, "bayes")]
    limits = (float(np.mean(best)) if best else None, None)
    guess = {"semilinear": "0.076", "quadratic": "0.024"}.get(row.partition("-")[0])
    easy = f"; a first guess already errs by {guess} only" if guess else ""
    for index, (metric, limit) in enumerate(zip(("subordinate_steps", "subordinate_mse"), limits, strict=True)):
        paper = float(getattr(published, metric))
        values = [one[index] for one in plateaus]
        results.append(summarise(("table2", row, metric), values, paper, limit, f"threshold {threshold:g}{easy}"))
    return results


def _table2_text() -> list[str]:
    return [
        "A network reads x_t and y_{t−1} and answers y_t for a function it has not met before; MSEt is the squared "
        "error averaged over all steps of all sequences.  `train` are sequences drawn as in meta-training (new "
        "functions every update, so there is nothing to memorise), `test` are sequences of the test phase.  The "
        "limit is the error of a learner that knows the prior and applies Bayes' rule, on the very same sequences.",
        '`subordinate_steps` is the paper\'s "train time subordinate": the first step from which the mean error over '
        'test sequences stays at or below the paper\'s "train MSE subordinate"; `subordinate_mse` is the largest mean '
        "error from that step on.  The limit of the former is what the Bayes learner gives by the same "
        "definition; where it lies above the printed number (the Booleans: some functions cannot be told apart until "
        "all four inputs have been seen), the paper must have measured something else than the mean over functions.",
    ]


def _misprint(result: Result) -> Section:
    assert result.ours is not None
    assert result.limit is not None
    values = {
        "limit": result.limit,
        "ours": result.ours,
        "ratio": result.ours / result.limit,
        "first": "yes" if result.ours < 0.008 else "no",
        "second": "yes" if result.ours < 0.0025 else "no",
    }
    return Section("A misprint in Table 2", [text.format(**values) for text in MISPRINT])


def _dots(results: Sequence[Result], folder: Path) -> Figure:
    figure, axes = panels(1, 1, height=2.7)
    dots(axes[0], results, {"paper": "paper, 2001", "ours": "ours", "limit": "limit (Bayes)"})
    decorate(axes[0], "Test MSEt, and ours as a multiple of the limit", "mean squared error per step", "", "x")
    figure.legend(loc="outside lower center", ncols=3)
    save(figure, folder / "figures" / "table2")
    return Figure(folder / "figures" / "table2.png", "Test MSEt: paper, ours (bars: sd over seeds) and the limit.")


def _steps(rows: Mapping[str, pd.DataFrame], folder: Path) -> Figure:
    figure, axes = panels(2, 3, height=2.4)
    for panel, (row, frame) in zip(axes, rows.items(), strict=False):
        part = frame[(frame.metric == "error") & (frame.split == "test")]
        curves(panel, part.assign(value=part.value.clip(lower=1e-7)), ["lstm", "bayes"])
        decorate(panel, row, "example", "mean squared error", "xy")
        panel.set_ylim(bottom=1e-6)
    for panel in axes[len(rows) :]:
        panel.set_axis_off()
    if rows:
        axes[0].legend()
    save(figure, folder / "figures" / "learning_curves")
    caption = (
        "Mean squared error at each example of a new function: the meta-trained LSTM (band: range over seeds) and the "
        "limit."
    )
    return Figure(folder / "figures" / "learning_curves.png", caption)
