"""Where what was computed is kept, an entry of the configuration; no torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Storing:
    """Where scores and trials are kept and found again, never what they come to.

    Attributes:
        dir: Folder of the store; null is the folder ``store`` of the output.
        also: Further stores, which are read and never written, such as those of others.
        limit: Size of the store in gigabytes above which the entries that were not used longest are removed at the end
            of a command; 0 empties it.
    """

    dir: str | None = None
    also: list[str] = field(default_factory=list)
    limit: float = 20.0

    def __post_init__(self) -> None:
        """Check the range."""
        if not self.limit >= 0:
            raise ValueError(f"store.limit must be at least 0 gigabytes, not {self.limit}")
