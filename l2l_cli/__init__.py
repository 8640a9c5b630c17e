"""l2l: learning to learn, on the command line and from Python.

    import l2l_cli as l2l

    run = l2l.meta_train("task=quadratic")
    run.compare("adam").table

The commands are functions here, and ``load_optimizer`` returns update rules as torch optimizers.  Each name is loaded
when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from l2l_cli.core.errors import L2LError, RunFailed, UsageError
    from l2l_cli.python.apart import L2LWarning
    from l2l_cli.python.calls import dry_run, meta_train, reproduce
    from l2l_cli.python.results import DryRun, Reproduction, Scored
    from l2l_cli.python.trained import Run, compare, evaluate
    from l2l_cli.runs.exporting import export
    from l2l_cli.runs.torch_form import load_optimizer

__version__ = "0.2.0"

_PLACES = {
    **dict.fromkeys(("L2LError", "RunFailed", "UsageError"), "core.errors"),
    "L2LWarning": "python.apart",
    **dict.fromkeys(("dry_run", "meta_train", "reproduce"), "python.calls"),
    **dict.fromkeys(("DryRun", "Reproduction", "Scored"), "python.results"),
    **dict.fromkeys(("Run", "compare", "evaluate"), "python.trained"),
    "export": "runs.exporting",
    "load_optimizer": "runs.torch_form",
}
"""Module of this package from which each name is loaded."""

__all__ = [
    "DryRun",
    "L2LError",
    "L2LWarning",
    "Reproduction",
    "Run",
    "RunFailed",
    "Scored",
    "UsageError",
    "__version__",
    "compare",
    "dry_run",
    "evaluate",
    "export",
    "load_optimizer",
    "meta_train",
    "reproduce",
]


def __getattr__(name: str) -> object:
    """Import the requested name, so that importing the package itself loads nothing heavy."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return all names, including those that are not loaded yet."""
    return sorted({*globals(), *__all__})
