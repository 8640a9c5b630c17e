"""The papers' pages, and README's table of the papers: their numbers come from the committed studies.

``python -m tests.pages`` writes them anew.  A page begins with tests/pages/PAPER.md, a template in which
``{paper/artefact/row/metric/column:format}`` stands for a cell of a results.csv, "±" as column for our number with its
interval.  README's table stands between ``<!-- numbers papers -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pandas as pd

from l2l_cli.config.build import build
from l2l_cli.config.compose import compose
from l2l_cli.config.groups import papers
from l2l_cli.papers.base import Paper
from l2l_cli.papers.origin import CLAIM, contents_table, file_of_study, numbers_of_study, study_of
from l2l_cli.results.content import tally
from l2l_cli.results.report import markdown_table
from l2l_cli.results.verdicts import BETTER, DIFFERS, OPEN, REPRODUCED, WORSE

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TEMPLATES = Path(__file__).parent


@cache
def class_of(paper: str) -> type[Paper]:
    """The class of a paper of conf/."""
    return type(build(compose("reproduce", [f"experiment={paper}/{papers()[paper][0]}"]).paper, "paper"))


def page_of(paper: str) -> str:
    """A paper's page: what came out, in words, and what its study gave, once there is one."""
    found = class_of(paper)
    lead = filled((TEMPLATES / f"{paper}.md").read_text(encoding="utf-8")).strip()
    parts = [f"# {found.title}", found.citation, lead, *(_study(paper) if study_of(found) else [])]
    return "\n\n".join(parts) + "\n"


def _study(paper: str) -> list[str]:
    found = class_of(paper)
    lines = study_of(found)
    numbers = numbers_of_study(found)
    judged = pd.DataFrame(_number(line, numbers) for line in lines if line["metric"] != CLAIM)
    published = judged[judged.paper != "–"]
    claims = pd.DataFrame(
        {"artefact": one["artefact"], "claim": one["row"], "it": one["verdict"], "evidence": one["note"]}
        for one in lines
        if one["metric"] == CLAIM
    )
    origins = pd.DataFrame(
        {name: one[name] for name in ("artefact", "date", "commit", "machine", "command", "identity")} for one in lines
    ).drop_duplicates()
    return [
        "## The study",
        f"What `l2l reproduce {paper} --scale study` gave, on test seeds that [SEEDS.md](../SEEDS.md) lists; all of it "
        "is in [results.csv](results.csv).  Brackets hold 95 % intervals; every report has the rule of the verdicts.",
        "### Published numbers",
        markdown_table(published) if len(published) else "The paper has none that can be read off.",
        "### Claims",
        markdown_table(claims),
        "### Every table, figure and numbered claim",
        markdown_table(contents_table(found)),
        "### Where the numbers come from",
        markdown_table(origins),
    ]


def _number(line: dict[str, str], numbers: dict[tuple[str, str, str], str]) -> dict[str, str]:
    key = line["artefact"], line["row"], line["metric"]
    verdict = f"{line['verdict']} ({line['needs']})" if line["needs"] else line["verdict"]
    return {
        **dict(zip(("artefact", "row", "metric"), key, strict=True)),
        "paper": _short(line["paper"]),
        "ours [95 %]": numbers[key],
        "seeds": line["seeds"],
        "limit": _short(line["limit"]),
        "verdict": verdict,
    }


def _short(text: str) -> str:
    return f"{float(text):.3g}" if text else "–"


def filled(template: str) -> str:
    """A template with the numbers of the studies in it."""
    return re.sub(r"\{([^{}]+)\}", lambda match: _cell(match[1]), template)


def _cell(asked: str) -> str:
    path, _, form = asked.partition(":")
    paper, *where = path.split("/")
    found = class_of(paper)
    if len(where) == 1:
        return _counted(found, where[0])
    artefact, row, metric, column = where
    if column == "±":
        return numbers_of_study(found)[artefact, row, metric]
    key = {"artefact": artefact, "row": row, "metric": metric}
    (line,) = (one for one in study_of(found) if key.items() <= one.items())
    value = line[column]
    return format(float(value), form) if form and value and not math.isnan(float(value)) else value


def _counted(paper: type[Paper], what: str) -> str:
    """How many claims hold, fail and are open; or how many published numbers have each verdict."""
    lines = study_of(paper)
    if not lines:
        return "no study yet"
    if what == "claims":
        return " · ".join(map(str, tally(line["verdict"] for line in lines if line["metric"] == CLAIM).values()))
    found = Counter(line["verdict"] for line in lines if line["counts"] == "True")
    order = (REPRODUCED, BETTER, WORSE, DIFFERS, OPEN)
    return ", ".join(f"{found[verdict]} {verdict}" for verdict in order if verdict in found) or "none published"


def readme_of(text: str) -> str:
    """README with its table of the papers written anew."""
    table = filled((TEMPLATES / "papers.md").read_text(encoding="utf-8")).strip()
    return re.sub(r"(<!-- numbers papers -->)\n.*?(<!-- end -->)", rf"\1\n{table}\n\2", text, flags=re.DOTALL)


def place_of(paper: str) -> Path:
    """Where a paper's page stands."""
    return file_of_study(class_of(paper)).with_name("README.md")
