"""Where the rules that come with the package lose: each of them beside tuned rivals on problems far from its own.

``python -m tests.bench.far_from_home`` runs all of it, writes ``.github/docs/pretrained.csv``, and the table of
``.github/docs/pretrained.md`` from that.  Flags choose: ``--steps 100 1000``, ``--problems "digits, MLP"``, and
``--tune`` for the tuning alone.  What was computed before is found in the store and not computed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from l2l_cli.config.build import Builder
from l2l_cli.config.compose import compose
from l2l_cli.config.schema import Settings
from l2l_cli.core.suffixes import PRETRAINED, pretrained
from l2l_cli.evaluation.contest import Contender, Plan, Problem, Unit
from l2l_cli.results.exported import ExportedRun, file_of
from l2l_cli.results.gains import gain_of
from l2l_cli.results.standings import AHEAD, BEHIND, LEVEL, stands
from l2l_cli.results.statistics import difference_of
from l2l_cli.runs.building import prepare, store_of
from l2l_cli.runs.contenders import hand_made_contender, learned_contender
from l2l_cli.runs.folders import load_run
from l2l_cli.runs.loading import load_learner
from l2l_cli.runs.tuning import hand_made
from tests.bench.far_problems import PROBLEMS, task_of

DOCS = Path(__file__).resolve().parents[2] / ".github" / "docs"
STEPS = (100, 1000, 5000)
EPISODES, TUNED_ON = 16, 2
"""Test episodes, and episodes of the tune phase that each setting of a rival is tried on."""

SEED = 177307874
"""Seed of the test episodes: see l2l_cli/papers/SEEDS.md."""

RIVALS: Mapping[str, Sequence[str]] = {
    "Adam": ["learner=adam"],
    "AdamW, cosine": ["learner=adamw", "+learner.schedule=cosine"],
    "Muon": ["learner=muon"],
    "Schedule-Free": ["learner=schedule_free"],
}
"""Overrides of each rival; eight learning rates each, and on beyond an edge, for the loss at the end."""

COLUMNS = ["problem", "steps", "contender", "kind", "chosen", "loss", "beside_best", "low", "high", "stands", "best"]


def settings_of() -> Settings:
    """Return the settings that everything is built with; outputs go to outputs/far_from_home."""
    words = [f"tune.episodes={TUNED_ON}", "tune.criterion=end", "output=outputs/far_from_home"]
    return compose("compare", words)


def problem_of(name: str, steps: int, episodes: int = EPISODES) -> Problem:
    """Return a problem at a number of steps, to be scored on some test episodes."""
    task = task_of(name)
    task.horizon = steps
    identity = {"task": {"far": name, "horizon": steps}, "data": task.fingerprint()}
    return Problem(name, task, steps, Plan(episodes, [SEED], episodes), identity)


def rival(name: str, problem: Problem, settings: Settings) -> Contender:
    """Return a rival that is tuned for a problem and its steps."""
    prepared = hand_made(name, RIVALS[name], settings, problem.task)
    return hand_made_contender(name, prepared, store=store_of(settings))


def rule(name: str, problem: Problem, settings: Settings) -> Contender:
    """Return a rule that comes with the package, as it is."""
    run, saved = load_run(f"{PRETRAINED}{name}", settings)
    return learned_contender(name, load_learner(run, saved, problem.task, Builder()), saved)


def scored(
    problem: Problem, settings: Settings, rivals: Collection[str] = tuple(RIVALS), rules: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield a row for each contender on a problem: the mean loss over the last tenth, beside the best rival's.

    The rules are all that come with the package unless some are named.
    """
    makers = dict.fromkeys(rivals, rival) | dict.fromkeys(rules or pretrained(), rule)
    units = {name: Unit(make(name, problem, settings), problem) for name, make in makers.items()}
    standings = {name: unit.play(store_of(settings)) for name, unit in units.items()}
    losses = {name: one.joined.end.double().nan_to_num(float("inf")).numpy()[None] for name, one in standings.items()}
    best = min(rivals, key=lambda name: losses[name].mean())
    for name, one in standings.items():
        gain = gain_of(losses[name], losses[best])
        how = "" if name == best else stands(difference_of(losses[name], losses[best]).interval)
        kind = "rival" if name in RIVALS else "rule"
        shown = ["", "", ""] if name == best else [f"{value:.4g}" for value in (gain.value, gain.low, gain.high)]
        numbers = [f"{losses[name].mean():.4g}", *shown]
        yield dict(
            zip(COLUMNS, [problem.name, problem.steps, name, kind, one.entry.chosen, *numbers, how, best], strict=True)
        )


def table_of(frame: pd.DataFrame) -> str:
    """Return the table of the page: by problem and steps, the best rival, and how each rule stands to it."""
    rules = list(dict.fromkeys(frame[frame.kind == "rule"].contender))
    lines = ["| problem | steps | best rival | " + " | ".join(f"`{name}`" for name in rules) + " |"]
    lines.append("|---" * (3 + len(rules)) + "|")
    for name in PROBLEMS:
        for steps in STEPS:
            part = frame[(frame.problem == name) & (frame.steps == steps)].set_index("contender")
            if part.empty:
                lines.append(f"| {name} | {steps} | not run |" + " |" * len(rules))
                continue
            best = part.best.iloc[0]
            cells = [f"{best} {part.loss[best]:.3g}"]
            cells += [_cell(part.loc[one]) if one in part.index else "not run" for one in rules]
            lines.append(f"| {name} | {steps} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: pd.Series[Any]) -> str:
    marks = {AHEAD: "**ahead**", LEVEL: "level", BEHIND: "behind"}
    return f"{row.loss:.3g}, {marks[row.stands]}"


def home() -> str:
    """Return the table of the rules by their cards: task, certificate beside tuned Adam at home, command."""
    lines = ["| rule | beside tuned Adam at home | a step costs | made by |", "|---|---|---|---|"]
    for name in pretrained():
        card = ExportedRun.load(file_of(name)).card
        (sentence,) = card["compared"][0]["certificates"]
        stands_so = sentence.split(" is ", 1)[1].split(" (about")[0]
        stands_so = stands_so.replace("of your tuned adam ", "").replace("with your tuned adam ", "")
        cost = sentence.split("a step costs ")[1].split(";")[0]
        lines.append(f"| `{name}` | {stands_so} | {cost} | `{card['command']}` |")
    return "\n".join(lines)


def keep(file: Path, problem: Problem, rows: Iterator[dict[str, Any]]) -> None:
    """Put the rows of a problem and its steps in the place of those that a file has; these go as soon as it is run."""
    known = pd.read_csv(file, dtype=str) if file.is_file() else pd.DataFrame(columns=COLUMNS)
    other = known[(known.problem != problem.name) | (known.steps.astype(int) != problem.steps)]
    other.to_csv(file, index=False)
    pd.concat([other, pd.DataFrame(rows)]).to_csv(file, index=False)


def write(frame: pd.DataFrame) -> None:
    """Write the page's tables from numbers and from the cards."""
    page = DOCS / "pretrained.md"
    page.write_text(page_with(page.read_text(), frame))


def page_with(text: str, frame: pd.DataFrame) -> str:
    """Return the page with tables of these numbers and of the cards."""
    for name, table in {"home": home(), "far": table_of(frame)}.items():
        before, mark, rest = text.partition(f"<!-- numbers {name} -->")
        text = f"{before}{mark}\n{table}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return text


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS))
    parser.add_argument("--tune", action="store_true", help="tune the rivals alone; nothing is written")
    asked, settings = parser.parse_args(), settings_of()
    prepare(settings.hardware)
    for steps in asked.steps:
        for name in asked.problems:
            problem = problem_of(name, steps)
            if asked.tune:
                for one in RIVALS:
                    print(name, steps, one, rival(one, problem, settings).prepare(problem).chosen, flush=True)
                continue
            file = DOCS / "pretrained.csv"
            keep(file, problem, scored(problem, settings))
            write(pd.read_csv(file, keep_default_na=False))
            print(name, steps, flush=True)


if __name__ == "__main__":
    main()
