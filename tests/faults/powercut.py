"""A power cut at any moment of a recorded run: what the disk may hold when the machine comes back.

The workload runs once. A recording VFS notes every write, truncate, sync, creation and deletion of databases, their
journals and WALs; tests/faults/files.py does so for files of our own; `Recorder.mark` notes what was acknowledged when.
Images are made from the record afterwards (the model: tests/faults/disk.py), so that a sweep over every instant costs
one run and not one run for each.

SQLite's folder syncs are those of its unix VFS: with the first sync of a freshly opened journal or WAL, and with a
deletion that asks for it. -shm and temporary files are never part of an image: SQLite rebuilds them.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from tests.faults.disk import (
    ROOT,
    Create,
    Delete,
    Disk,
    Existed,
    FolderSync,
    Image,
    Name,
    NameChange,
    Operation,
    Rename,
    Sync,
    Truncate,
    Write,
    change_names,
)
from tests.faults.vfs import file_name, survives

_FOLDER_SYNCED_WITH = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL


@dataclass(frozen=True, slots=True)
class _Mark:
    label: Hashable


_Entry = Operation | Existed | _Mark


class Recorder:
    """The record of one run. Keep the VFS that `vfs` returns for as long as connections use its name.

    With a `root`, files in any folder below it are recorded, and what is there already is read now, so nothing may
    have a database of it open. Files and folders that turn up later though nobody recorded how they were made are
    taken for unsynced. Without one, the folder of the first database is recorded, and what is there is durable.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.recording = threading.RLock()
        """Held while an operation is made and noted, so that the record has the order of the disk."""

        self._entries: list[_Entry] = []
        self._names: dict[Name, int] = {}
        self._folders = {ROOT}
        self._inodes = ROOT
        self._root = root.resolve() if root else None
        self._is_first_sight_durable = root is None
        if root and root.exists():
            self._read_below(root.resolve(), ROOT)

    def vfs(self, name: str) -> apsw.VFS:
        return _RecordingVFS(name, self)

    def mark(self, label: Hashable) -> None:
        """Note that something was promised by now, such as the number of an acknowledged commit."""
        self._add(_Mark(label))

    @property
    def operations(self) -> int:
        return sum(1 for entry in self._entries if not isinstance(entry, _Mark | Existed))

    def images(self, rng: random.Random, *, every: int = 1, subsets: int = 3) -> Iterator[Image]:
        """Images of a cut after operation 0, 1, 2 … (or every n-th, from a random start, and always the last).

        Of each instant: the image without anything unsynced, then `subsets - 1` random ones. An image that equals
        an earlier one with the same marks is left out, so there are fewer than operations times subsets.
        """
        disk = Disk()
        marks: list[Hashable] = []
        seen: set[int] = set()
        at, start = 0, rng.randrange(every)
        for position, entry in enumerate(self._entries):
            match entry:
                case _Mark(label):
                    marks.append(label)
                case Existed():
                    disk.adopt(entry)
                case _:
                    disk.apply(entry)
                    at += 1
            last = position + 1 == len(self._entries)
            # Marks that follow an operation belong to it: they promise what that operation made durable.
            if not last and (isinstance(self._entries[position + 1], _Mark | Existed) or at % every != start):
                continue
            for image in disk.images(rng, subsets, at, tuple(marks)):
                digest = image.digest()
                if digest not in seen:
                    seen.add(digest)
                    yield image

    def without_a_cut(self) -> Image:
        """All that was recorded. What the folder holds beside it, or otherwise, was done past the recording layers."""
        disk = Disk()
        for entry in self._entries:
            if isinstance(entry, Existed):
                disk.adopt(entry)
            elif not isinstance(entry, _Mark):
                disk.apply(entry)
        marks = tuple(entry.label for entry in self._entries if isinstance(entry, _Mark))
        return disk.image(random.Random(0), 1.0, 1.0, self.operations, marks)

    def holds(self, path: Path) -> bool:
        """Whether this path lies below the folder that is recorded, or is it."""
        return self._root is not None and _absolute(path).is_relative_to(self._root)

    def inode(self, path: Path) -> int:
        """The inode of a file or folder that exists. If it was never seen, it was made by now, and is not synced."""
        with self.recording:
            if _absolute(path) == self._root:
                return ROOT
            name = self._name_of(path)
            if name not in self._names:
                if path.is_dir():
                    self.made_folder(path)
                else:
                    self.opened(path, True, path.read_bytes)
            return self._names[name]

    def see(self, path: Path) -> None:
        """Take notice of all that is at this path, before it moves or goes."""
        with self.recording:
            if is_rebuilt(path) or not os.path.lexists(path):
                return
            self.inode(path)
            if path.is_dir():
                for below in sorted(path.iterdir()):
                    self.see(below)

    def opened(self, path: Path, existed: bool, read: Callable[[], bytes]) -> int:
        """The inode of a file that was just opened and, unless it `existed`, created."""
        with self.recording:
            name = self._name_of(path)
            if name in self._names:
                return self._names[name]
            if existed and self._is_first_sight_durable:
                self._names[name] = inode = self._new_inode()
                self._add(Existed(name, inode, read()))
                return inode
            inode = self.created(path)
            if existed:
                self.written(inode, 0, read())
            return inode

    def created(self, path: Path) -> int:
        """The inode of a file that was just made, and is empty."""
        with self.recording:
            inode = self._new_inode()
            self._change(Create(self._name_of(path), inode))
            return inode

    def made_folder(self, path: Path) -> None:
        with self.recording:
            inode = self._new_inode()
            self._folders.add(inode)
            self._change(Create(self._name_of(path), inode, is_folder=True))

    def deleted(self, path: Path) -> None:
        with self.recording:
            self._change(Delete(self._name_of(path)))

    def renamed(self, source: Path, target: Path) -> None:
        with self.recording:
            self._change(Rename(self._name_of(source), self._name_of(target)))

    def written(self, inode: int, offset: int, data: bytes) -> None:
        self._add(Write(inode, offset, data))

    def truncated(self, inode: int, size: int) -> None:
        self._add(Truncate(inode, size))

    def synced(self, inode: int) -> None:
        """The content of a file was, or the names in a folder."""
        self._add(FolderSync(inode) if inode in self._folders else Sync(inode))

    def _add(self, entry: _Entry) -> None:
        with self.recording:
            self._entries.append(entry)

    def _change(self, change: NameChange) -> None:
        change_names(self._names, change)
        self._add(change)

    def _new_inode(self) -> int:
        self._inodes += 1
        return self._inodes

    def _name_of(self, path: Path) -> Name:
        path = _absolute(path)
        if self._root is None:
            self._root = path.parent
        if path == self._root or not path.is_relative_to(self._root):
            raise ValueError(f"this recorder records what lies below {self._root}, and {path} does not")
        return self.inode(path.parent), path.name

    def _read_below(self, folder: Path, inode: int) -> None:
        for path in sorted(folder.iterdir()):
            if is_rebuilt(path):
                continue
            name, new = (inode, path.name), self._new_inode()
            self._names[name] = new
            self._add(Existed(name, new, None if path.is_dir() else path.read_bytes()))
            if path.is_dir():
                self._folders.add(new)
                self._read_below(path, new)


def _absolute(path: Path) -> Path:
    """Without symbolic links above its name; the last part stands as it is."""
    return Path(os.path.realpath(path.absolute().parent)) / path.name


def is_rebuilt(path: Path) -> bool:
    """Whether SQLite makes this file anew, so that it is no part of an image."""
    return path.name.endswith("-shm")


class _RecordingVFS(apsw.VFS):
    def __init__(self, name: str, recorder: Recorder) -> None:
        super().__init__(name, "")
        self._recorder = recorder

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if not survives(flags[0]):
            return apsw.VFSFile("", name, flags)
        return _RecordingFile(self._recorder, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        with self._recorder.recording:
            super().xDelete(filename, False)
            self._recorder.deleted(Path(filename))
            if syncdir:
                self._recorder.synced(self._recorder.inode(Path(filename).parent))


class _RecordingFile(apsw.VFSFile):
    def __init__(self, recorder: Recorder, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        path = Path(file_name(name))
        self._recorder = recorder
        with recorder.recording:
            existed = path.exists()
            super().__init__("", name, flags)
            # Read through SQLite's own handle: open() and close() of ours would drop its POSIX locks.
            self._inode = recorder.opened(path, existed, lambda: self.xRead(self.xFileSize(), 0))
            self._folder = recorder.inode(path.parent)
        self._folder_sync_due = bool(flags[0] & _FOLDER_SYNCED_WITH) and bool(flags[0] & apsw.SQLITE_OPEN_CREATE)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._recorder.written(self._inode, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._recorder.truncated(self._inode, newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        # Not passed on: this machine keeps its power.
        self._recorder.synced(self._inode)
        if self._folder_sync_due:
            self._recorder.synced(self._folder)
        self._folder_sync_due = False

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: N802
        # With memory mapping on, this hint grows the file behind xWrite's back.
        return True if op == apsw.SQLITE_FCNTL_SIZE_HINT else super().xFileControl(op, ptr)
