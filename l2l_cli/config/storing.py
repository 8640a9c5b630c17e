"""The part of the configuration that says where results are stored; no torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Storing:
    """Where scores and trials are stored and found again, not what they are.

    Attributes:
        dir: Folder of the store; null means the folder ``store`` of the output folder.
        also: Further stores that are read but never written, such as those of other people.
        limit: Size of the store in gigabytes above which the least recently used entries are removed at the end of a
            command; 0 empties it.
    """

    dir: str | None = None
    also: list[str] = field(default_factory=list)
    limit: float = 20.0

    def __post_init__(self) -> None:
        """Check the range."""
        if not self.limit >= 0:
            raise ValueError(f"store.limit must be at least 0 gigabytes, not {self.limit}")
