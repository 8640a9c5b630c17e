"""A stranger's module: whoever imports it has run code that a run folder or a data file named."""

from __future__ import annotations

import os
from pathlib import Path

if "L2L_CANARY" in os.environ:
    Path(os.environ["L2L_CANARY"]).touch()


class Boom:
    """A class that a hostile configuration asks for."""
