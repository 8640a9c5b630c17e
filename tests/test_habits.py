"""What outsiders look for: one set of checks for CI, hooks and make; a glossary; a changelog by version."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from l2l_cli.config.groups import papers

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_continuous_integration_runs_what_every_developer_can_run():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]
    targets = re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert {"check", "test", "smoke"} <= set(targets)


def test_hooks_are_the_checks_of_make():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    (checks,) = re.findall(r"^check: ([\w ]+?) *##", MAKEFILE, re.MULTILINE)
    assert [hook["entry"] for hook in hooks] == [f"make {target}" for target in checks.split()]


def test_make_smoke_finds_every_paper():
    done = subprocess.run(["make", "--dry-run", "smoke"], cwd=ROOT, capture_output=True, text=True, check=True)
    (loop,) = re.findall(r"for paper in (.+?); do", done.stdout)
    assert sorted(loop.split()) == sorted(papers())


def test_every_command_of_contributing_exists():
    named = set(re.findall(r"`make ([\w-]+)`", CONTRIBUTING))
    assert len(named) >= 6
    assert named <= set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))


def glossary() -> dict[str, tuple[str, str]]:
    """Meaning, and words not to use, of each term."""
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| *([^|]*?) *\|$", CONTRIBUTING.split("## Glossary")[1], re.MULTILINE)
    return {term: (meaning, wrong) for term, meaning, wrong in rows[1:] if set(term) != {"-"}}


def test_the_glossary_is_in_order_and_in_sentences():
    terms = list(glossary())
    assert len(terms) > 30
    assert terms == sorted(terms, key=str.casefold)
    for term, (meaning, _) in glossary().items():
        assert re.fullmatch(r"[A-Z].*\.", meaning), term


@pytest.mark.parametrize(
    "word", sorted({word for _, wrong in glossary().values() for word in re.findall("`(.+?)`", wrong)})
)
def test_a_word_that_the_glossary_replaces_is_used_nowhere(word):
    """Files that read saved runs alone may hold old names."""
    files = [path for path in sorted((ROOT / "l2l_cli").rglob("*.py")) if not path.name.startswith("saved")]
    used = {path.name: len(re.findall(rf"(?i)(?<![a-z]){word}", path.read_text())) for path in files}
    assert {name: count for name, count in used.items() if count} == {}


def test_the_changelog_has_the_present_version():
    versions = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    current = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert any(current in heading for heading in versions)
    for heading in versions[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", heading)


def test_ruff_bans_heavy_imports_from_all_that_help_loads():
    code = (
        "import sys; sys.argv = ['l2l', '--help']\n"
        "from l2l_cli.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*[vars(m)['__file__'] for n, m in sys.modules.items() if n.startswith('l2l_cli')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {Path(file).relative_to(ROOT).as_posix() for file in done.stderr.split()}
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    (pattern,) = (glob for glob, codes in lint["per-file-ignores"].items() if codes == ["TID253"])
    folder, names = re.fullmatch(r"!(l2l_cli/)\{(.+)\}\.py", pattern).groups()
    banned = {f"{folder}{name}.py" for name in names.split(",")}
    assert {file for file in loaded if not any(fnmatch(file, one) for one in banned)} == set()
    assert {"torch", "pandas", "matplotlib", "hydra"} <= set(lint["flake8-tidy-imports"]["banned-module-level-imports"])
