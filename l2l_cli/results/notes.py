"""``Deviation:`` and ``Source:`` notes of docstrings, and which of them concern what a configuration builds.

A class's notes are those in its docstrings, in the docstrings of whatever its code refers to (bases, functions,
constants, other classes, and so on through their code; type annotations do not count), and at the head of every
module in which one of these is defined.  Source code is parsed; nothing is imported or instantiated.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PACKAGE = "l2l_cli"

SWITCHES = {("search", "trials"): f"{PACKAGE}.runs.search.searched"}
"""Code that an entry of the configuration switches on without naming it in a ``_target_``."""

_NUMBER = r"\d+(?:\.\d+)*"
_PLACE = (
    rf"(?:§§? ?|(?:eqs?\.|ch\.|[Aa]lgorithms?|Figures?|Fig\.|Tables?) ){_NUMBER}(?:(?:, | and |–){_NUMBER}\b)*"
    r"|appendix [A-Z](?:\.\d+)*|abstract"
)
_YEAR = r"(?<![-\d])(?:18|19|20)\d\d\b"
_CITATION = r"(?:\"[^\"]*\"|\([^)]*\)|:(?! )|\.(?! [A-Z]|$)|[^\":.(])*"
"""A citation up to the end of its sentence, or to a colon outside of quotation marks and brackets."""


class Note(NamedTuple):
    """One note.

    Attributes:
        kind: "Deviation" or "Source".
        text: Text of the note on one line, with single backticks around code.
        module: Dotted name of the module.
        name: Name of the definition whose docstring holds it, as in "Class.method"; empty for the module's own.
    """

    kind: str
    text: str
    module: str
    name: str

    @property
    def place(self) -> str:
        """File and definition, as in "tasks/functions.py: SemiLinear"."""
        file = self.module.removeprefix(f"{PACKAGE}.").replace(".", "/") + ".py"
        return f"{file}: {self.name}" if self.name else file


class _Module(NamedTuple):
    """What one file defines and imports, by name, and its notes."""

    definitions: Mapping[str, ast.stmt]
    imports: Mapping[str, str]
    notes: Sequence[Note]


def built_by(config: object) -> set[str]:
    """Return the dotted names of all classes that a configuration builds, from its ``_target_`` entries."""
    names: set[str] = set()
    if isinstance(config, Mapping):
        if "_target_" in config:
            names.add(str(config["_target_"]))
        for (group, key), switched in SWITCHES.items():
            if isinstance(part := config.get(group), Mapping) and part.get(key):
                names.add(switched)
    if isinstance(config, Mapping | list | tuple):
        for entry in config.values() if isinstance(config, Mapping) else config:
            names |= built_by(entry)
    return names


def notes_of(names: Iterable[str]) -> list[Note]:
    """Return the notes that concern classes or functions, in the order of their files.

    Args:
        names: Dotted names, as ``built_by`` returns them; names outside of l2l_cli are followed too.
    """
    pending, reached = sorted(names), set[tuple[str, str]]()
    packages = {PACKAGE, *(name.split(".")[0] for name in pending)}
    while pending:
        module, _, name = pending.pop().rpartition(".")
        if module.split(".")[0] not in packages or (module, name) in reached or not (parsed := _parsed(module)):
            continue
        reached.add((module, name))
        if name in parsed.imports:
            pending.append(parsed.imports[name])
        elif name in parsed.definitions:
            pending += _references(parsed.definitions[name], module, parsed)
    defined = {(module, name) for module, name in reached if (one := _parsed(module)) and name in one.definitions}
    heads = {module for module, _ in defined}
    return [
        note
        for module in sorted(heads)
        for note in getattr(_parsed(module), "notes", ())
        if not note.name or (module, note.name.split(".")[0]) in defined
    ]


def all_notes(folder: Path | None = None) -> list[Note]:
    """Return every note of the package, or of another folder of modules."""
    folder = folder or Path(__file__).resolve().parents[1]
    modules = (path.relative_to(folder.parent).with_suffix("").parts for path in sorted(folder.rglob("*.py")))
    return [note for parts in modules if (one := _parsed(".".join(parts))) for note in one.notes]


def source_page(title: str, citation: str, notes: Iterable[Note]) -> str:
    """Return a page in Markdown that says which file and function implement which part of a paper.

    Args:
        title: Title of the page.
        citation: Citation of the paper, beginning with its first author and containing its year.
        notes: Notes that concern the paper's rows; a ``Source:`` note without a year cites the paper itself.
    """
    surname = re.split(r",| and |:", citation)[0].split()[-1]
    year = re.search(_YEAR, citation)
    this = re.compile(rf"{surname}.*{year.group() if year else ''}")
    own, others = list[tuple[str, Note]](), list[tuple[str, Note]]()
    for note in notes:
        if note.kind == "Source":
            for cited in _citations(note.text):
                is_own = this.search(cited) or not re.search(_YEAR, cited)
                (own if is_own else others).append((cited, note))
    rows = {(", ".join(dict.fromkeys(re.findall(_PLACE, cited))) or "the whole", note.place) for cited, note in own}
    lines = [f"# {title}: where the paper is in the code", "", "| part of the paper | file and function |", "|---|---|"]
    lines += [f"| {part} | `{place}` |" for part, place in sorted(rows, key=lambda row: (_numeric(row[0]), row[1]))]
    if others:
        lines += ["", "## Other sources", "", "| source | file and function |", "|---|---|"]
        lines += [f"| {cited.replace('|', chr(92) + '|')} | `{note.place}` |" for cited, note in dict.fromkeys(others)]
    return "\n".join(lines) + "\n"


def _citations(text: str) -> list[str]:
    """Return the citations in a note, without the explanations that follow them; only the first may lack a year."""
    parts = re.split(r";\s+(?![^(]*\))", text)
    kept = [part for index, part in enumerate(parts) if not index or re.search(_YEAR, part)]
    return [found.group() for part in kept if (found := re.match(_CITATION, part))]


def _numeric(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts §10 after §2."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", text)]


def _file(module: str) -> Path | None:
    """Return the file of a module without importing its packages; None if the name is not that of a module."""
    top, *parts = module.split(".")
    spec = find_spec(top)
    if spec is None or not (parts or spec.origin):
        return None
    folders = spec.submodule_search_locations or []
    stems = [Path(folder, *parts) for folder in folders] if parts or folders else [Path(str(spec.origin))]
    files = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    return next((file for file in files if file.is_file()), None)


@cache
def _parsed(module: str) -> _Module | None:
    file = _file(module)
    if file is None:
        return None
    tree = ast.parse(file.read_text(encoding="utf-8"))
    definitions: dict[str, ast.stmt] = {}
    for statement in tree.body:
        match statement:
            case ast.ClassDef() | ast.FunctionDef():
                definitions[statement.name] = statement
            case ast.Assign() | ast.AnnAssign():
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                names = (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
                definitions |= dict.fromkeys(names, statement)
    imports = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    return _Module(definitions, imports, list(_notes(tree, module, "")))


def _references(node: ast.AST, module: str, parsed: _Module) -> Iterator[str]:
    """Yield the dotted names of what a definition refers to, its annotations left out."""
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name):
                    if owner := parsed.imports.get(child.value.id):
                        yield f"{owner}.{child.attr}"  # of a module; an attribute of a class is not a definition
                if isinstance(child, ast.Name):
                    if child.id in parsed.definitions:
                        yield f"{module}.{child.id}"
                    elif child.id in parsed.imports:
                        yield parsed.imports[child.id]
                elif isinstance(child, ast.AST):
                    yield from _references(child, module, parsed)


def _notes(node: ast.Module | ast.ClassDef | ast.FunctionDef, module: str, name: str) -> Iterator[Note]:
    """Yield the notes of a definition and of all that it contains; a constant's docstring is the string below it."""
    before: ast.stmt | None = None
    for index, child in enumerate(node.body):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant) and isinstance(child.value.value, str):
            owner = name
            if index and isinstance(before, ast.Assign | ast.AnnAssign):
                target = before.targets[0] if isinstance(before, ast.Assign) else before.target
                owner = ".".join(filter(None, [name, ast.unparse(target)]))
            for kind, text in _texts(inspect.cleandoc(child.value.value)):
                yield Note(kind, text, module, owner)
        elif isinstance(child, ast.ClassDef | ast.FunctionDef):
            yield from _notes(child, module, ".".join(filter(None, [name, child.name])))
        before = child


def _texts(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and text of each note, which ends with its paragraph or with its entry of ``Args:``."""
    lines = docstring.splitlines()
    for number, line in enumerate(lines):
        for found in re.finditer(r"\b(Deviation|Source): (.+?)(?=\b(?:Deviation|Source): |$)", line):
            indent = len(line) - len(line.lstrip())
            is_entry = found.start() > indent and re.match(r"\s*\w+: ", line) is not None
            text = [found.group(2)]
            for later in lines[number + 1 :] if found.end() == len(line) else []:
                depth = len(later) - len(later.lstrip())
                if not later.strip() or depth < indent + is_entry or re.match(r"\s*(Deviation|Source): ", later):
                    break
                text.append(re.split(r"\b(?:Deviation|Source): ", later)[0])
                if text[-1] != later:
                    break
            yield found.group(1), re.sub(r"``", "`", " ".join(" ".join(text).split()))
