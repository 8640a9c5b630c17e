"""The house itself: imports go down the floors, files and functions stay short, abstract or final."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "l2l_cli"
FLOORS = [
    {"core"},
    {"autodiff", "kernels", "results"},
    {"models"},
    {"parallel", "optimizers", "tasks"},
    {"learners"},
    {"evaluation"},
    {"meta"},
    {"config"},
    {"runs"},
    {"papers"},
    {"commands"},
    {"cli", "bridge"},
]
FILES = sorted(PACKAGE.rglob("*.py"))


def place(module: str) -> str:
    """The folder or file of the package that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "core"  # l2l_cli itself holds the version alone


def floor(name: str) -> int:
    return next(level for level, names in enumerate(FLOORS) if name in names)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_or_stay_in_their_folder(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return
    # The files at the top of the package that share a floor may use each other: they are one room.
    room = {name for name in FLOORS[floor(own)] if (PACKAGE / f"{name}.py").is_file()}
    for module in imports(path):
        if module.startswith("l2l_cli"):
            other = place(module)
            assert other == own or other in room or floor(other) < floor(own), module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            body = node.end_lineno - node.body[0].lineno + 1
            assert body <= 40, f"{node.name} has {body} lines"


@pytest.mark.parametrize("folder", ["results", "config", "meta/plan.py", "core/errors.py"])
def test_what_must_not_need_torch_does_not(folder):
    target = PACKAGE / folder
    for path in [target] if target.is_file() else target.glob("*.py"):
        assert "torch" not in {module.split(".")[0] for module in imports(path)}
