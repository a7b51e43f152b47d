"""A power cut at any moment of a recorded run: what the disk may hold when the machine comes back.

The workload runs once through a recording VFS, which notes every write, truncate, sync, creation and deletion of the
database, its journal and its WAL; `Recorder.mark` notes what was acknowledged when. Images are made from the record
afterwards, so that a sweep over every instant costs one run and not one run for each.

The model, on the harsh side of what file systems do:

- What was synced is there. Of the writes and truncates since the file's last sync any subset is there; a write is
  split at 512-byte sectors that survive or not on their own. Bytes outside a write are never harmed (SQLite assumes
  this too: SQLITE_IOCAP_POWERSAFE_OVERWRITE). A hole that a lost write leaves in a longer file reads as zeros.
- Creations and deletions are durable after a sync of the folder. As in SQLite's unix VFS this is the first sync of a
  freshly opened journal or WAL, and a deletion that asks for it; syncing a file's content does not make its name
  durable. Until then each name, on its own, is in any state that it had since the folder's last sync.
- -shm and temporary files are never part of an image: SQLite rebuilds them.

Not modelled: renames (SQLite makes none), files written past SQLite, a disk that lies about a sync, damage at rest.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from tests.faults.vfs import file_name, survives

_SECTOR = 512
_FOLDER_SYNCED_WITH = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL


@dataclass(frozen=True, slots=True)
class _Write:
    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Truncate:
    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class _Sync:
    inode: int


@dataclass(frozen=True, slots=True)
class _Name:
    """The name now stands for this inode, or for none."""

    name: str
    inode: int | None


@dataclass(frozen=True, slots=True)
class _FolderSync:
    pass


@dataclass(frozen=True, slots=True)
class _Existed:
    """A file of before the record began: all of it durable."""

    name: str
    inode: int
    content: bytes


@dataclass(frozen=True, slots=True)
class _Mark:
    label: Hashable


_Operation = _Write | _Truncate | _Sync | _Name | _FolderSync
_Entry = _Operation | _Existed | _Mark


@dataclass(frozen=True, slots=True)
class Image:
    """What a disk may hold after a power cut following operation `at`; `marks` were set before it."""

    at: int
    kept: str
    marks: tuple[Hashable, ...]
    files: dict[str, bytes]

    def write_to(self, folder: Path) -> None:
        """Make `folder`, which must not exist yet, with the files of this image."""
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


class Recorder:
    """The record of one run. Keep the VFS that `vfs` returns for as long as connections use its name.

    One recorder records one folder: databases of other folders would not share its folder sync.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._names: dict[str, int] = {}
        self._inodes = 0
        self._folder: Path | None = None
        self._recording = threading.RLock()

    def vfs(self, name: str) -> apsw.VFS:
        return _RecordingVFS(name, self)

    def mark(self, label: Hashable) -> None:
        """Note that something was promised by now, such as the number of an acknowledged commit."""
        self._add(_Mark(label))

    @property
    def operations(self) -> int:
        return sum(1 for entry in self._entries if not isinstance(entry, _Mark | _Existed))

    def images(self, rng: random.Random, *, every: int = 1, subsets: int = 3) -> Iterator[Image]:
        """Images of a cut after operation 0, 1, 2 … (or every n-th, from a random start, and always the last).

        Of each instant: the image without anything unsynced, then `subsets - 1` random ones. An image that equals
        an earlier one with the same marks is left out, so there are fewer than operations times subsets.
        """
        disk = _Disk()
        marks: list[Hashable] = []
        seen: set[int] = set()
        at, start = 0, rng.randrange(every)
        for position, entry in enumerate(self._entries):
            match entry:
                case _Mark(label):
                    marks.append(label)
                case _Existed():
                    disk.adopt(entry)
                case _:
                    disk.apply(entry)
                    at += 1
            last = position + 1 == len(self._entries)
            # Marks that follow an operation belong to it: they promise what that operation made durable.
            if not last and (isinstance(self._entries[position + 1], _Mark) or at % every != start):
                continue
            for image in disk.images(rng, subsets, at, tuple(marks)):
                digest = hash((image.marks, tuple(sorted(image.files.items()))))
                if digest not in seen:
                    seen.add(digest)
                    yield image

    def open(self, path: str, existed: bool, read: Callable[[], bytes]) -> int:
        """The inode behind a path that was just opened."""
        with self._recording:
            name = self._name_of(path)
            if name in self._names:
                return self._names[name]
            self._inodes += 1
            self._names[name] = self._inodes
            self._add(_Existed(name, self._inodes, read()) if existed else _Name(name, self._inodes))
            return self._inodes

    def deleted(self, path: str, syncdir: bool) -> None:
        with self._recording:
            name = self._name_of(path)
            self._names.pop(name, None)
            self._add(_Name(name, None))
            if syncdir:
                self._add(_FolderSync())

    def written(self, inode: int, offset: int, data: bytes) -> None:
        self._add(_Write(inode, offset, data))

    def truncated(self, inode: int, size: int) -> None:
        self._add(_Truncate(inode, size))

    def synced(self, inode: int, *, folder_too: bool) -> None:
        self._add(_Sync(inode))
        if folder_too:
            self._add(_FolderSync())

    def _add(self, entry: _Entry) -> None:
        with self._recording:
            self._entries.append(entry)

    def _name_of(self, path: str) -> str:
        folder, name = Path(path).parent, Path(path).name
        if self._folder not in (None, folder):
            raise ValueError(f"a recorder records one folder: it has {self._folder}, now {folder}")
        self._folder = folder
        return name


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[_Write | _Truncate] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def after_a_cut(self, rng: random.Random, chance: float) -> bytes:
        content = bytearray(self.durable)
        for change in self.pending:
            if isinstance(change, _Truncate):
                if rng.random() < chance:
                    _apply(content, change)
                continue
            torn = rng.random() < 0.5
            for piece in _sectors(change) if torn else [change]:
                if rng.random() < chance:
                    _apply(content, piece)
        return bytes(content)


@dataclass(slots=True)
class _Disk:
    """The state of the folder at one point of the record."""

    files: dict[int, _File] = field(default_factory=dict)
    names: dict[str, list[int | None]] = field(default_factory=dict)
    """What each name stood for at the last sync of its folder, and since then, in order."""

    def adopt(self, entry: _Existed) -> None:
        self.files[entry.inode] = _File(bytearray(entry.content))
        self.names[entry.name] = [entry.inode]

    def apply(self, operation: _Operation) -> None:
        match operation:
            case _Write(inode) | _Truncate(inode):
                self.files[inode].pending.append(operation)
            case _Sync(inode):
                self.files[inode].sync()
            case _Name(name, target):
                if target is not None:
                    self.files.setdefault(target, _File())
                self.names.setdefault(name, [None]).append(target)
            case _FolderSync():
                self.names = {name: states[-1:] for name, states in self.names.items()}

    def images(self, rng: random.Random, subsets: int, at: int, marks: tuple[Hashable, ...]) -> Iterator[Image]:
        yield self._image(rng, 0.0, at, marks)
        if all(len(states) == 1 for states in self.names.values()) and not any(
            file.pending for file in self.files.values()
        ):
            return
        for _ in range(subsets - 1):
            # 1.0 is the kill that is no power cut; the chances beside it lose or keep all but a little.
            yield self._image(rng, rng.choice((0.1, 0.5, 0.9, 1.0)), at, marks)

    def _image(self, rng: random.Random, chance: float, at: int, marks: tuple[Hashable, ...]) -> Image:
        kept: dict[str, bytes] = {}
        for name, states in self.names.items():
            inode = rng.choice(states) if 0 < chance < 1 else states[-1 if chance else 0]
            if inode is not None:
                kept[name] = self.files[inode].after_a_cut(rng, chance)
        return Image(at, f"{chance:.0%} of what was not synced", marks, kept)


def _apply(content: bytearray, change: _Write | _Truncate) -> None:
    end = change.size if isinstance(change, _Truncate) else change.offset + len(change.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if isinstance(change, _Truncate):
        del content[end:]
    else:
        content[change.offset : end] = change.data


def _sectors(write: _Write) -> list[_Write]:
    """The write in pieces that end where the sectors of the disk end."""
    pieces = []
    start, end = write.offset, write.offset + len(write.data)
    while start < end:
        stop = min(end, start - start % _SECTOR + _SECTOR)
        pieces.append(_Write(write.inode, start, write.data[start - write.offset : stop - write.offset]))
        start = stop
    return pieces


class _RecordingVFS(apsw.VFS):
    def __init__(self, name: str, recorder: Recorder) -> None:
        super().__init__(name, "")
        self._recorder = recorder

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if not survives(flags[0]):
            return apsw.VFSFile("", name, flags)
        return _RecordingFile(self._recorder, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, False)
        self._recorder.deleted(filename, syncdir)


class _RecordingFile(apsw.VFSFile):
    def __init__(self, recorder: Recorder, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        path = file_name(name)
        existed = Path(path).exists()
        super().__init__("", name, flags)
        self._recorder = recorder
        # Read through SQLite's own handle: open() and close() of ours would drop its POSIX locks.
        self._inode = recorder.open(path, existed, lambda: self.xRead(self.xFileSize(), 0))
        self._folder_sync_due = bool(flags[0] & _FOLDER_SYNCED_WITH) and bool(flags[0] & apsw.SQLITE_OPEN_CREATE)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._recorder.written(self._inode, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._recorder.truncated(self._inode, newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        # Not passed on: this machine keeps its power.
        self._recorder.synced(self._inode, folder_too=self._folder_sync_due)
        self._folder_sync_due = False

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: N802
        # With memory mapping on, this hint grows the file behind xWrite's back.
        return True if op == apsw.SQLITE_FCNTL_SIZE_HINT else super().xFileControl(op, ptr)
