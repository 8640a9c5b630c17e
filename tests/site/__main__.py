"""Build the site into a folder, ``python -m tests.site FOLDER``; a link that leads nowhere ends it.

The pages keep their places, so that links between them hold, on the site as in the repository.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from l2l_cli.results.notes import all_notes
from tests.pages import ROOT

HERE = Path(__file__).parent

WRITTEN = (
    *(
        "README.md",
        "CHANGELOG.md",
        "CITATION.cff",
        ".github/*.md",
        ".github/docs/*.md",
        ".github/docs/*.csv",
        ".github/*.png",
    ),
    *("l2l_cli/papers/SEEDS.md", "l2l_cli/papers/*/README.md", "l2l_cli/papers/*/results.csv"),
    *("tests/bench/README.md", "tests/torch_optim/CONTRACT.md"),
)
"""Files of the repository that are pages, or that pages lead to."""

API = "reference"

STYLE = """.rst-content table td { white-space: normal !important }
.wy-nav-content { max-width: 1000px }
"""
"""Over the theme's own: cells wrap, and the commands of the pages, 100 characters at most, are not cut."""


def pages(folder: Path) -> None:
    """Write all pages below a folder, at their places in the repository, ``.github`` as ``github``."""
    for pattern in WRITTEN:
        for source in sorted(ROOT.glob(pattern)):
            place = folder / source.relative_to(ROOT).as_posix().replace(".github", "github")
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.suffix == ".md":
                place.write_text(source.read_text(encoding="utf-8").replace(".github/", "github/"), encoding="utf-8")
            else:
                shutil.copy(source, place)
    (folder / API).mkdir()
    for room, modules in rooms().items():
        text = "\n\n".join(f"::: {module}" for module in modules)
        (folder / API / f"{room}.md").write_text(f"# {room}\n\n{text}\n", encoding="utf-8")
    (folder / "site.css").write_text(STYLE, encoding="utf-8")
    (folder / "equations.md").write_text("\n".join(equations()), encoding="utf-8")


def rooms() -> dict[str, list[str]]:
    """The modules of each room of the package, by their dotted names; those that lie in no room by themselves."""
    found = defaultdict(list)
    for path in sorted((ROOT / "l2l_cli").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if parts[-1] != "__main__":
            found[parts[1] if len(parts) > 2 else "l2l_cli"].append(module)
    return dict(found)


def equations() -> Iterator[str]:
    """The lines of the page that says where each section, equation and algorithm of a paper stands in the code."""
    yield "# From equations to code\n"
    yield "Every docstring that implements something of a paper says what, by section, equation or algorithm.\n"
    yield "| where it stands | what it is |\n|---|---|"
    for note in sorted(all_notes(), key=lambda note: (_first_word(note.text), note.text)):
        if note.kind == "Source":
            module = note.module.removesuffix(".__init__")
            room = module.split(".")[1] if module.count(".") > 1 else "l2l_cli"
            anchor = f"{module}.{note.name}" if note.name else module
            yield f"| [`{note.place}`]({API}/{room}.md#{anchor}) | {_plain(note.text)} |"


def _plain(text: str) -> str:
    """A text as a table's cell shows it letter by letter: a docstring's names and formulas are no Markdown."""
    return re.sub(r"([_*])", r"\\\1", text.replace("|", "¦"))


def _first_word(text: str) -> str:
    return re.split(r"\W", text, maxsplit=1)[0]


def build(target: Path) -> int:
    """Build the site; the result is mkdocs' exit code, which is not 0 where a link leads nowhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pages(folder / "pages")
        settings = (HERE / "mkdocs.yml").read_text(encoding="utf-8").replace("PATHS", str(ROOT))
        settings += "".join(f"    - {room}: {API}/{room}.md\n" for room in rooms())
        (folder / "mkdocs.yml").write_text(settings, encoding="utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target.resolve())]
        return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1])))
