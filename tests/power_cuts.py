"""A disk that loses what was not brought to it: what a power cut would leave of a folder, at every moment of a run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

Image = frozenset[tuple[str, bytes]]
"""Content of every file by its path, as it is found after the cut."""


class Disk:
    """Watches what reaches the disk below a folder, and keeps what each cut would leave.

    A file system may have written more than it was told to, so that a cut leaves names as of the last sync of their
    folder or as they are, and of what was appended since a file's last sync nothing, all, or zeros in its place.
    """

    def __init__(self, root: Path, monkeypatch) -> None:
        self.root, self.images = root, set[Image]()
        self._content: dict[int, bytes] = {}  # by inode
        self._names: dict[str, dict[str, int]] = {}  # by folder
        self._open: list[int] = []  # keeps inodes from being used again
        fsync, replace = os.fsync, os.replace

        def synced(descriptor):
            self._look()
            fsync(descriptor)
            self._note(descriptor)
            self._look()

        def renamed(old, new):
            self._look()
            replace(old, new)
            self._look()

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "replace", renamed)

    def _note(self, descriptor: int) -> None:
        state, path = os.fstat(descriptor), os.readlink(f"/proc/self/fd/{descriptor}")
        if stat.S_ISDIR(state.st_mode):
            self._names[path] = {entry.name: entry.inode() for entry in os.scandir(path) if entry.is_file()}
        else:
            self._open.append(os.dup(descriptor))
            self._content[state.st_ino] = Path(path).read_bytes()

    def _look(self) -> None:
        folders = [folder for folder, _, _ in os.walk(self.root)]
        present = {
            folder: {entry.name: entry.inode() for entry in os.scandir(folder) if entry.is_file()} for folder in folders
        }
        now = {
            inode: Path(folder, name).read_bytes() for folder, names in present.items() for name, inode in names.items()
        }
        for names in (present, {folder: self._names.get(folder, {}) for folder in folders}):
            for tail in ("lost", "zeros", "kept"):
                self.images.add(self._image(names, now, tail))

    def _image(self, names: dict[str, dict[str, int]], now: dict[int, bytes], tail: str) -> Image:
        found = []
        for folder, inodes in names.items():
            for name, inode in inodes.items():
                whole = self._content.get(inode, b"")
                new = now.get(inode, whole)[len(whole) :]
                whole += {"lost": b"", "zeros": bytes(len(new)), "kept": new}[tail]
                if name != ".lock":
                    found.append((os.path.relpath(os.path.join(folder, name), self.root), whole))
        return frozenset(found)


def restored(image: Image, root: Path) -> None:
    """Write what a cut has left into another folder."""
    for name, content in image:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
