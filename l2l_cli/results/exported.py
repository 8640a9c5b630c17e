"""A finished run in one file that later versions can read: the weights, the configuration and a card; no torch.

The file has the safetensors format: its tensors are the learner's weights by name.  Its header holds two notes: "xxh3",
the checksum of ``tensor_files``, and "l2l", a JSON object with

* ``schema``: the number of this format.  The places of this number and of the checksum never change, so that every
  version can tell a damaged file from one of a later version.  A version reads all formats up to its ``SCHEMA``.
* ``card``: what the rule is for and how well it does, for readers; see ``runs.exporting``.
* ``config``: the configuration of the training, as in config.yaml: ``learner`` is the node from which the learner is
  built, and ``task`` that of the task it was trained on.  ``config.saved`` finds classes that have been renamed since,
  as it does for run folders.
* ``facts``: entries of the run's run.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from l2l_cli.core.errors import UsageError, did_you_mean
from l2l_cli.core.files import open_file, read_file
from l2l_cli.core.nodes import Entries, Node
from l2l_cli.core.plain_text import in_one_line, parsed_json
from l2l_cli.core.suffixes import EXPORTED, PRETRAINED, SHIPPED, pretrained
from l2l_cli.results.facts import why_damaged
from l2l_cli.results.tensor_files import KEY, Damaged, notes_of, see_that_it_is_whole

SCHEMA = 1
"""Number of the present format."""

NOTE = "l2l"

LARGEST = 1 << 32
"""Largest size in bytes of a file that is read."""

_HEAD = 1 << 24
"""Bytes of a file that are read to find out what it is."""


class FinishedRun(Protocol):
    """The interface through which a finished run is read, whether it is a folder or a file."""

    path: Path

    def facts(self, needed: Sequence[str] = ()) -> Entries:
        """Return the entries of its run.json."""

    def config(self) -> Entries:
        """Return its configuration."""

    @property
    def weights(self) -> Path:
        """The file of its weights."""

    @property
    def remedy(self) -> str:
        """Advice for a user whose file of weights is damaged."""


class ExportedRun:
    """A finished run in one file; ``load`` opens one that a user named."""

    def __init__(self, path: Path, content: Node) -> None:
        self.path = path
        self._content = content

    @classmethod
    def load(cls, path: Path) -> ExportedRun:
        """Open a file, or a rule that comes with the program, if it is intact and of a format that this version knows.

        Raises:
            UsageError: The file is not an exported run, is damaged, or is of a later version; or there is none.
        """
        if str(path).startswith(PRETRAINED):
            path = file_of(str(path).removeprefix(PRETRAINED))
        try:
            content = read_file(path, LARGEST)
            notes = notes_of(content)
            if NOTE not in notes:
                raise UsageError(_no_export(path))
            if KEY not in notes:
                raise Damaged("it has no checksum")
            see_that_it_is_whole(content)
            found = parsed_json(notes[NOTE])
            if not isinstance(found, dict):
                raise Damaged("its note is not a mapping")
            _see_that_it_is_known(path, found)
        except FileNotFoundError as error:
            raise UsageError(f"there is no file {path}") from error
        except (OSError, Damaged, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(f"{path} is damaged ({in_one_line(error)}); {_REMEDY}") from error
        return cls(path, found)

    def facts(self, needed: Sequence[str] = ()) -> Entries:
        """Return the entries of the run's run.json, which must include those that are ``needed``.

        Raises:
            UsageError: A needed entry is missing.
        """
        facts = dict(self._content["facts"])
        if lacking := [name for name in needed if facts.get(name) is None]:
            raise UsageError(f"{self.path} has no {', '.join(lacking)} among its facts; export the run again")
        return facts

    def config(self) -> Entries:
        """Return the configuration of the training."""
        return dict(self._content["config"])

    @property
    def card(self) -> Entries:
        """The card."""
        return dict(self._content["card"])

    @property
    def weights(self) -> Path:
        """The file itself."""
        return self.path

    @property
    def remedy(self) -> str:
        """Advice for a user whose file of weights is damaged."""
        return _REMEDY


_REMEDY = "get it again from where it came, or export the run again with `l2l meta-train --resume RUN --export FILE`"


def file_of(name: str) -> Path:
    """Return the file of a rule that comes with the program.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in pretrained():
        raise UsageError(
            f"no rule {name!r} comes with l2l{did_you_mean(name, pretrained())} (rules: {', '.join(pretrained())}; "
            f"`l2l runs {PRETRAINED}` says what they are)"
        )
    return SHIPPED / f"{name}{EXPORTED}"


def _no_export(path: Path) -> str:
    return (
        f"{path} is not an exported run: it has no note {NOTE!r} in its head; name a run's folder, or a file that "
        "`l2l meta-train … --export FILE` wrote"
    )


def _see_that_it_is_known(path: Path, content: Node) -> None:
    """Check that a file has a schema that this version reads, and the parts that it prescribes."""
    schema = content["schema"]
    if isinstance(schema, bool) or not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        version = content.get("card", {}).get("version")
        which = f"l2l-cli {in_one_line(version)}, which wrote it, or a later" if version else "a later"
        raise UsageError(
            f"{path} has schema {in_one_line(schema)}, and this version reads schemas up to {SCHEMA}; install {which} "
            "version"
        )
    for part in ("card", "config", "facts"):
        if not isinstance(content[part], dict):
            raise Damaged(f"its {part} is not a mapping")
    if reason := why_damaged(content["facts"]):
        raise Damaged(f"its facts have {reason}")


def check_target(path: Path) -> None:
    """Check that a run can be exported to a path.

    Raises:
        UsageError: The path has another suffix, is not in an existing folder, or holds something else already.
    """
    if path.suffix != EXPORTED:
        raise UsageError(f"--export {path}: the file is one of safetensors; call it {path.with_suffix(EXPORTED)}")
    if not path.parent.is_dir():
        raise UsageError(f"--export {path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise UsageError(f"--export {path} is a folder; name a file in it, as in {path / f'rule{EXPORTED}'}")
    if path.exists():
        with open_file(path) as file:
            if NOTE not in notes_of(file.read(_HEAD)):
                raise UsageError(f"--export {path} exists already and is not an exported run; choose another name")
