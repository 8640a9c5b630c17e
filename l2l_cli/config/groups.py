"""Options of the configuration's groups, read from the names of files: quick enough for help and completion."""

from __future__ import annotations

from pathlib import Path


def config_root() -> Path:
    """Return the folder of the configuration: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "conf"
    return checkout if (package.parent / "pyproject.toml").is_file() else package / "conf"


def options(group: str, config_dir: str | None = None) -> list[str]:
    """Return the names that a group can take; files whose names begin with an underscore are parts of others."""
    roots = [config_root(), *([Path(config_dir)] if config_dir else [])]
    names = {path.stem for root in roots for path in (root / group).glob("*.yaml")}
    return sorted(name for name in names if not name.startswith("_"))


def recipes(config_dir: str | None = None) -> list[str]:
    """Return the recipes of all papers, as in ``PAPER/NAME``."""
    roots = [root / "recipe" for root in (config_root(), *([Path(config_dir)] if config_dir else []))]
    files = [path.relative_to(root).with_suffix("") for root in roots for path in root.rglob("*.yaml")]
    return sorted({path.as_posix() for path in files if path.parts[0] not in ("learner", "pair")})


def papers(config_dir: str | None = None) -> dict[str, list[str]]:
    """Return the artefacts of each paper that can be reproduced."""
    roots = [config_root(), *([Path(config_dir)] if config_dir else [])]
    folders = sorted({path.parent.name for root in roots for path in (root / "experiment").glob("*/*.yaml")})
    return {folder: options(f"experiment/{folder}", config_dir) for folder in folders}
