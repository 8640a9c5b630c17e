"""l2l: the command line for learning to learn.

In Python, ``load_optimizer`` gives update rules as optimizers of torch, and ``export`` writes a finished run to one
file; both are loaded when they are first asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from l2l_cli.runs.exporting import export
    from l2l_cli.runs.torch_form import load_optimizer

__all__ = ["__version__", "export", "load_optimizer"]

__version__ = "0.2.0"

_PLACES = {"export": "l2l_cli.runs.exporting", "load_optimizer": "l2l_cli.runs.torch_form"}


def __getattr__(name: str) -> object:
    """Import what is asked for, so that the package itself loads nothing heavy."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return all names, also of what is not loaded yet."""
    return sorted({*globals(), *__all__})
