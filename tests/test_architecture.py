"""The house itself: imports go down the floors and never in circles, and files, functions and words stay in bounds."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "l2l_cli"
FLOORS = [
    {"core"},
    {"autodiff", "kernels", "results"},
    {"models"},
    {"parallel", "optimizers", "tasks"},
    {"learners"},
    {"evaluation"},
    {"meta"},
    {"config", "testing"},
    {"runs"},
    {"papers"},
    {"commands"},
    {"cli", "completion", "flags", "bridge", "listing", "starting", "sweep", "__main__", "python"},
]
"""From the ground up; .github/CONTRIBUTING.md quotes this table."""

FILES = sorted(PACKAGE.rglob("*.py"))
CONFIGURATION = sorted((ROOT / "conf" / "experiment").rglob("*.yaml"))
PAPERS = sorted({path.relative_to(ROOT / "conf" / "experiment").parts[0] for path in CONFIGURATION})
Function = ast.FunctionDef | ast.AsyncFunctionDef


def short(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


every_file = pytest.mark.parametrize("path", FILES, ids=short)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions() -> Iterator[tuple[Path, Function]]:
    for path in FILES:
        yield from ((path, node) for node in ast.walk(tree(path)) if isinstance(node, Function))


# --- Floors and circles -----------------------------------------------------------------------------------------------


def place(module: str) -> str:
    """The folder or file of the package that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "core"  # l2l_cli itself holds the version alone


def floor(name: str) -> int:
    return next(level for level, names in enumerate(FLOORS) if name in names)


def file_of(module: str) -> Path | None:
    """The file of a module of the package; None if the name is that of a definition."""
    stem = PACKAGE.parent.joinpath(*module.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def for_types_alone(node: ast.AST) -> set[ast.AST]:
    """Everything under ``if TYPE_CHECKING:``."""
    blocks = (
        part for part in ast.walk(node) if isinstance(part, ast.If) and ast.unparse(part.test).endswith("TYPE_CHECKING")
    )
    return {part for block in blocks for statement in block.body for part in ast.walk(statement)}


@cache
def imports(path: Path, types: bool = True) -> frozenset[str]:
    """Modules that a file imports, at its head or within functions; each name that may be a module of its own, too.

    Args:
        path: File.
        types: Whether to count what is imported for the type checker alone.
    """
    found, left_out = set(), set() if types else for_types_alone(tree(path))
    for node in ast.walk(tree(path)):
        if node in left_out:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{short(path)} imports relatively"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found)


def neighbours(path: Path) -> set[Path]:
    """Files of the package that a file imports as it runs.

    ``from folder import file`` leads to that file.  What stands under ``if TYPE_CHECKING:`` is left out: an annotation
    that names the class above is no circle of code, and the floors hold for it all the same.
    """
    found = {file_of(module) for module in imports(path, types=False) if module.split(".")[0] == PACKAGE.name}
    return {one for one in found if one is not None and one != path}


@every_file
def test_imports_go_down_or_stay_in_their_folder(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return
    # The files at the top of the package that share a floor may use each other: they are one room.
    room = {name for name in FLOORS[floor(own)] if (PACKAGE / f"{name}.py").is_file()}
    for module in imports(path):
        if module.split(".")[0] == PACKAGE.name and module != f"{PACKAGE.name}.__version__":
            other = place(module)
            assert other == own or other in room or floor(other) < floor(own), module


def circles() -> list[list[str]]:
    """Circles of files by depth-first search, each once: a file that leads back to itself, and the way."""
    found, done = [], set()

    def walk(path: Path, way: list[Path]) -> None:
        if path in way:
            found.append([short(one) for one in [*way[way.index(path) :], path]])
        elif path not in done:
            for other in sorted(neighbours(path)):
                walk(other, [*way, path])
            done.add(path)

    for path in FILES:
        walk(path, [])
    return found


def test_no_files_import_each_other_in_a_circle():
    assert circles() == []


def test_every_room_has_a_floor_and_every_floor_its_rooms():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.stem not in ("__init__", "__pycache__", "conf", "py")}
    assert rooms == set().union(*FLOORS)


def test_contributing_quotes_the_floors():
    """Its table lists floors from the top down, rooms in code marks in the second column."""
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| *(\d+) *\|([^|]*)\|", text, re.MULTILINE)
    quoted = {int(level): set(re.findall(r"`(\w+)`", rooms)) for level, rooms in rows}
    assert quoted == dict(enumerate(FLOORS))
    assert [int(level) for level, _ in rows] == sorted(quoted, reverse=True)


def test_nothing_else_counts_floors():
    """A number of a floor that is written down elsewhere is soon wrong."""
    assert [short(path) for path in FILES if re.search(r"\b[Ff]loor \d", path.read_text())] == []


@pytest.mark.parametrize("folder", ["results", "config", "meta/plan.py", "core/errors.py"])
def test_what_must_not_need_torch_does_not(folder):
    target = PACKAGE / folder
    for path in [target] if target.is_file() else target.rglob("*.py"):
        assert "torch" not in {module.split(".")[0] for module in imports(path)}


# --- Sizes ------------------------------------------------------------------------------------------------------------


def lines(paths: list[Path]) -> int:
    return sum(len(path.read_text().splitlines()) for path in paths)


@every_file
def test_files_and_functions_are_short(path):
    assert lines([path]) <= (200 if "papers" in path.relative_to(PACKAGE).parts else 300)
    for node in ast.walk(tree(path)):
        if isinstance(node, Function):
            assert node.end_lineno is not None
            body = node.end_lineno - node.body[0].lineno + 1
            assert body <= 40, f"{node.name} has {body} lines"


def test_the_package_does_not_grow():
    assert lines(FILES) <= 51_500


def test_papers_share_what_they_have_in_common():
    assert lines(sorted((PACKAGE / "papers").rglob("*.py"))) <= 5_500


# --- Signatures -------------------------------------------------------------------------------------------------------


def parameters(function: Function) -> list[ast.arg]:
    """All parameters of a function but self and cls."""
    spec = function.args
    several = [one for one in (spec.vararg, spec.kwarg) if one is not None]
    return [
        one for one in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs] if one.arg not in ("self", "cls")
    ] + several


def is_bare_any(annotation: ast.expr | None) -> bool:
    """Whether an annotation says nothing: Any itself or a union with it; ``Learner[Any]`` says something."""
    match annotation:
        case ast.Name(id="Any"):
            return True
        case ast.BinOp(left=left, right=right):
            return is_bare_any(left) or is_bare_any(right)
        case ast.Constant(value=str(text)):
            return is_bare_any(ast.parse(text, mode="eval").body)
    return False


def test_few_signatures_have_a_bare_any():
    bare = [
        f"{short(path)}:{function.lineno} {function.name}"
        for path, function in functions()
        if any(map(is_bare_any, [function.returns, *(one.annotation for one in parameters(function))]))
    ]
    assert len(bare) <= 44, f"{len(bare)}:\n" + "\n".join(bare)


def test_few_functions_have_many_parameters():
    wide = [
        f"{short(path)}:{function.lineno} {function.name}"
        for path, function in functions()
        if len(parameters(function)) > 7
    ]
    assert len(wide) <= 15, f"{len(wide)}:\n" + "\n".join(wide)


# --- Names ------------------------------------------------------------------------------------------------------------


def test_no_class_name_means_two_things():
    names = Counter(node.name for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))
    assert {name: count for name, count in names.items() if count > 1} == {}


def outside_of_papers() -> list[Path]:
    return [path for path in FILES if path.relative_to(PACKAGE).parts[0] != "papers"]


@pytest.mark.parametrize("paper", PAPERS)
def test_no_paper_is_named_outside_of_papers(paper):
    """Not in code, docstrings or comments; a citation names authors and a year."""
    assert [short(path) for path in outside_of_papers() if paper in path.read_text()] == []


def keys_under(node: object, names: tuple[str, ...]) -> Iterator[str]:
    """Keys of all mappings that stand, at any depth, under one of some names."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in names and isinstance(value, dict):
                yield from map(str, value)
            yield from keys_under(value, names)


def plain(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def words() -> set[str]:
    """Words of the field and of the program itself, which a row or problem may happen to bear: they name no row."""
    groups = {path.stem for path in (ROOT / "conf").rglob("*.yaml") if "experiment" not in path.parts}
    classes = {node.name for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)}
    files = {path.stem for path in FILES}
    return {plain(word) for word in groups | classes | files} | {
        "base"
    }  # the problem that is no variation, and files' name


def strings(path: Path) -> Iterator[str]:
    """String constants of a file, those of f-strings too, its docstrings left out."""
    statements = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Expr))
    docstrings = {node.value for node in statements if isinstance(node.value, ast.Constant)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            yield node.value


def test_no_row_or_problem_is_named_outside_of_papers():
    """A name counts as a whole string or as an identifier that is no ordinary word, a phrase also within a string."""
    nodes = [yaml.safe_load(path.read_text()) for path in CONFIGURATION]
    known = words()
    named = {name for node in nodes for name in keys_under(node, ("rows", "problems")) if plain(name) not in known}
    named = {name for name in named if re.search(r"[^\W\d]", name)}  # "20" is no name to look for
    assert len(named) > 50  # the configuration was read
    phrases = re.compile("|".join(rf"\b{re.escape(name)}(?![-\w])" for name in named if not name.isalnum()))
    for path in outside_of_papers():
        found = {text for text in strings(path) if text in named or phrases.search(text)}
        assert not found, f"{short(path)}: {found}"
        names = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
        assert not {name for name in names & named if not name.islower()}, short(path)


# --- Docstrings -------------------------------------------------------------------------------------------------------

FRAGMENTS = ("Of", "That", "As", "By", "Whose", "Where", "Which")
"""Words with which a clause begins, and no noun phrase."""


def documented(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Every module, class and function of a file, however deep, with the name under which it is found."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function | ast.ClassDef):
                if any(ast.unparse(one).endswith((".setter", "overload")) for one in child.decorator_list):
                    continue  # documented where it is first defined
                yield f"{prefix}{child.name}", child
                if isinstance(child, ast.ClassDef):
                    yield from walk(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.If | ast.Try | ast.With):
                yield from walk(child, prefix)

    yield short(path), tree(path)
    yield from ((f"{short(path)}: {name}", node) for name, node in walk(tree(path), ""))


def test_everything_public_has_a_docstring():
    public = [
        (name, node)
        for path in FILES
        for name, node in documented(path)
        if not any(part.startswith("_") for part in name.partition(": ")[2].split("."))
    ]
    assert len(public) > 500
    assert [name for name, node in public if not ast.get_docstring(node)] == []


def entries(docstring: str) -> Iterator[tuple[str, str]]:
    """Name and text of each entry of ``Args:`` and ``Attributes:``."""
    for section in re.findall(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n(?=[ ]))+)", docstring, re.MULTILINE):
        for name, text in re.findall(r"^    (\*{0,2}\w+):\s+((?:.+\n?)(?:      +.*\n?)*)", section, re.MULTILINE):
            yield name, " ".join(text.split())


def test_entries_are_noun_phrases_that_end_where_they_end():
    """Each begins with a capital letter, a symbol or code, and not with a clause; none ends in mid-sentence."""
    wrong = []
    for path in FILES:
        for name, node in documented(path):
            for entry, text in entries(ast.get_docstring(node) or ""):
                starts_wrong = re.match(r"[a-z]{2,}\b", text) or text.split()[0] in FRAGMENTS
                if starts_wrong or text.endswith((",", ";", " and", " or", ":")):
                    wrong.append(f"{name}, {entry}: {text[:60]}")
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)
