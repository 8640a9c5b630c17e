"""Table 1: which networks learn to learn the 14 Booleans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from l2l_cli.papers.base import Artefact
from l2l_cli.papers.hochreiter2001.measures import cost_of, limit_of, values_of
from l2l_cli.papers.hochreiter2001.published import TABLE1, network_of
from l2l_cli.results.frame import Result, summarise
from l2l_cli.results.report import Section

SUCCESS = 0.06
"""Test MSEt below which B14 counts as learned: within about four times the limit (ours; the paper has no criterion)."""

MODERN = "B14-64"
"""The row of the modern recipe, which carries the limit."""

CONTROL = ("bptt2-online-0.01", "bptt2-online-0.01-1024")
"""The same network and number of steps on 128 and on 1024 training sequences: does it memorise?"""


def table1(rows: Mapping[str, pd.DataFrame]) -> Artefact:
    """Judge every learning rate and update mode, and say where ours contradicts the paper."""
    modern = rows[MODERN]
    results = _modern(modern)
    for row, frame in rows.items():
        if row != MODERN:
            results += _results(row, frame, modern)
    run = {row: frame for row, frame in rows.items() if len(frame)}
    text = [
        f"A seed succeeds if its test MSEt is below {SUCCESS}, about four times the limit; the paper says YES or NO "
        "without a criterion.  Every learning rate and update mode that the paper names for a network is a row of its "
        "own; where it gives a range, its ends and a point between.  Rates are on e²: 0.0005 on e² is 0.001 on ½e², "
        "and the paper does not say which it means.  Gradients of an epoch are summed in batch mode.  Eight seeds run "
        "side by side, so the minutes are those of all eight.",
        *_claims(run),
    ]
    formats = dict.fromkeys(("train", "median", "best", "worst"), ".4f") | {"succeed": ".0%", "minutes": ".1f"}
    return Artefact(results, [Section("Table 1: which networks learn to learn", text, [_frame(run)], formats=formats)])


def _modern(frame: pd.DataFrame) -> list[Result]:
    published = TABLE1["lstm1997"]
    return [
        summarise(
            ("table1", MODERN, f"{split}_mse"),
            values_of(frame, "learner", split),
            paper,
            limit_of(frame, split),
            "the modern recipe, not the paper's network",
        )
        for split, paper in (("train", published.train_mse), ("test", published.test_mse))
    ]


def _results(row: str, frame: pd.DataFrame, modern: pd.DataFrame) -> list[Result]:
    published = TABLE1[network_of(row)]
    test = values_of(frame, "learner", "test")
    answer = "YES" if published.succeeds else "NO"
    share = summarise(
        ("table1", row, "success_share"),
        [float(value < SUCCESS) for value in test],
        float(published.succeeds),
        None,
        f"share of seeds with test MSEt < {SUCCESS}; the paper says {answer}, judged by the majority",
        lower_is_better=None,
    )
    if share.ours is not None:
        agrees = (share.ours > 0.5) == published.succeeds
        share = replace(share, verdict="reproduced" if agrees else "differs")
    results = [share]
    for split, paper in (("train", published.train_mse), ("test", published.test_mse)):
        results.append(
            summarise(
                ("table1", row, f"{split}_mse"),
                values_of(frame, "learner", split),
                paper,
                limit_of(modern, "test"),
                "median over seeds",
                median=True,
            )
        )
    return results


def _frame(run: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    table = []
    for row, frame in run.items():
        train, test = (np.array(values_of(frame, "learner", split)) for split in ("train", "test"))
        table.append(
            {
                "row": row,
                "weights": int(cost_of(frame, "meta_parameters")),
                "epochs": int(cost_of(frame, "updates")),
                "train": np.median(train),
                "median": np.median(test),
                "best": test.min(),
                "worst": test.max(),
                "succeed": (test < SUCCESS).mean(),
                "seeds": len(test),
                "minutes": cost_of(frame, "seconds") / 60,
            }
        )
    return pd.DataFrame(table)


def _claims(run: Mapping[str, pd.DataFrame]) -> list[str]:
    """Say of each network whether its best setting agrees with the paper's verdict, and test for memorisation."""
    lines = []
    for key, network in TABLE1.items():
        shares = {
            row: float(np.mean([value < SUCCESS for value in values_of(frame, "learner", "test")]))
            for row, frame in run.items()
            if row != MODERN and network_of(row) == key
        }
        if not shares:
            lines.append(f"* {network.name}: not run at this scale.")
            continue
        best = max(shares, key=lambda row: shares[row])
        paper = "learns" if network.succeeds else "does not learn"
        agrees = (shares[best] > 0.5) == network.succeeds
        lines.append(
            f"* {network.name}: the paper finds that it {paper}; ours succeeds in {shares[best]:.0%} of seeds in its "
            f"best setting (`{best}`).  {'This holds.' if agrees else '**This contradicts the paper.**'}"
        )
    text = ["\n".join(lines)]
    if all(row in run for row in CONTROL):
        splits = ("train", "test")
        small, large = ([np.median(values_of(run[row], "learner", split)) for split in splits] for row in CONTROL)
        text.append(
            "Does online BPTT(2) memorise?  The test sequences are of functions drawn anew, so what it learned there "
            f"it learned to learn.  On 128 training sequences its median is {small[0]:.4f} in training and "
            f"{small[1]:.4f} in test; with 1024 sequences and as many steps {large[0]:.4f} and {large[1]:.4f}."
        )
    return text
