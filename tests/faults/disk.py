"""The model of a disk whose power is cut: what it may hold when the machine comes back.

On the harsh side of what file systems do:

- What was synced is there. Of the writes and truncates since a file's last sync any subset is there; a write is split
  at 512-byte sectors that survive or not on their own. Bytes outside a write are never harmed (SQLite assumes this
  too: SQLITE_IOCAP_POWERSAFE_OVERWRITE). A hole that a lost write leaves in a longer file reads as zeros.
- A change of names (creation, deletion, rename) is durable after a sync of its folder; syncing a file's content does
  not make its name durable, nor does syncing a folder that of the folder itself. Until then each change has happened
  or not on its own, in any order but for those that build upon each other: a later change of the same name needs the
  earlier one.
- A rename is one change: the target is new and the source gone, or neither. Between two folders it is durable once
  both were synced. It does not make the content durable: the new name may stand for an empty or a torn file.

Not modelled: hard and symbolic links, permissions and times, a disk that lies about a sync, damage at rest.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = 0
"""The inode of the folder that is recorded."""

Name = tuple[int, str]
"""The inode of a folder, and a name in it."""

_SECTOR = 512

# How much happened of what was not synced, of changes of names and of content. Beside chance on both: the kill that
# is no power cut, and the names without the content, which is how file systems that put off allocation lose files.
_CHANCES = ((1.0, 1.0), (1.0, 0.0), (0.1, 0.1), (0.5, 0.5), (0.9, 0.9), (0.9, 0.5))


@dataclass(frozen=True, slots=True)
class Write:
    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """Of the content of a file."""

    inode: int


@dataclass(frozen=True, slots=True)
class Create:
    """The name now stands for this file or folder."""

    name: Name
    inode: int
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    name: Name


@dataclass(frozen=True, slots=True)
class Rename:
    name: Name
    to: Name


@dataclass(frozen=True, slots=True)
class FolderSync:
    """Of the names in a folder."""

    inode: int


NameChange = Create | Delete | Rename
Operation = Write | Truncate | Sync | NameChange | FolderSync


@dataclass(frozen=True, slots=True)
class Existed:
    """A file (its content), or a folder (None), of before the record began: all of it durable."""

    name: Name
    inode: int
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Image:
    """What a disk may hold after a power cut following operation `at`; `marks` were set before it."""

    at: int
    kept: str
    marks: tuple[Hashable, ...]
    files: dict[str, bytes]
    """Content by path below the recorded folder, with slashes."""

    folders: frozenset[str] = frozenset()

    def write_to(self, folder: Path) -> None:
        """Make `folder`, which must not exist yet, with the files and folders of this image."""
        folder.mkdir(parents=True)
        for name in sorted(self.folders):
            (folder / name).mkdir()
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    def digest(self) -> int:
        """Equal for images that hold the same at the same marks."""
        return hash((self.marks, self.folders, tuple(sorted(self.files.items()))))


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write | Truncate] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def after_a_cut(self, rng: random.Random, chance: float) -> bytes:
        content = bytearray(self.durable)
        for change in self.pending:
            if isinstance(change, Truncate):
                if rng.random() < chance:
                    _apply(content, change)
                continue
            torn = rng.random() < 0.5
            for piece in _sectors(change) if torn else [change]:
                if rng.random() < chance:
                    _apply(content, piece)
        return bytes(content)


@dataclass(slots=True)
class _Unsynced:
    """A change of names that is not durable yet, and the folders that are still to be synced for it."""

    change: NameChange
    folders: set[int]

    @property
    def names(self) -> frozenset[Name]:
        return frozenset(_names_of(self.change))


@dataclass(slots=True)
class Disk:
    """The state of the recorded folder at one point of the record."""

    files: dict[int, _File] = field(default_factory=dict)
    folders: set[int] = field(default_factory=lambda: {ROOT})
    durable: dict[Name, int] = field(default_factory=dict)
    unsynced: list[_Unsynced] = field(default_factory=list)

    def adopt(self, entry: Existed) -> None:
        self.durable[entry.name] = entry.inode
        self._add(entry.inode, is_folder=entry.content is None)
        if entry.content is not None:
            self.files[entry.inode].durable[:] = entry.content

    def apply(self, operation: Operation) -> None:
        match operation:
            case Write(inode) | Truncate(inode):
                self.files[inode].pending.append(operation)
            case Sync(inode):
                self.files[inode].sync()
            case FolderSync(inode):
                self._sync_folder(inode)
            case _:
                if isinstance(operation, Create):
                    self._add(operation.inode, is_folder=operation.is_folder)
                self.unsynced.append(_Unsynced(operation, {folder for folder, _ in _names_of(operation)}))

    def images(self, rng: random.Random, subsets: int, at: int, marks: tuple[Hashable, ...]) -> Iterator[Image]:
        """The image without anything unsynced, then `subsets - 1` random ones, if anything is unsynced."""
        yield self.image(rng, 0.0, 0.0, at, marks)
        if not self.unsynced and not any(file.pending for file in self.files.values()):
            return
        for _ in range(subsets - 1):
            yield self.image(rng, *rng.choice(_CHANCES), at, marks)

    def image(
        self, rng: random.Random, of_names: float, of_content: float, at: int, marks: tuple[Hashable, ...]
    ) -> Image:
        """An image in which what is unsynced happened with these chances."""
        names = dict(self.durable)
        undone: set[Name] = set()
        for unsynced in self.unsynced:
            if undone.isdisjoint(unsynced.names) and rng.random() < of_names:
                change_names(names, unsynced.change)
            else:
                undone |= unsynced.names
        paths = _paths(names, self.folders)
        return Image(
            at,
            f"of what was not synced {of_names:.0%} of the names, {of_content:.0%} of the content",
            marks,
            {path: self.files[i].after_a_cut(rng, of_content) for path, i in paths.items() if i in self.files},
            frozenset(path for path, i in paths.items() if i in self.folders),
        )

    def _add(self, inode: int, *, is_folder: bool) -> None:
        if is_folder:
            self.folders.add(inode)
        else:
            self.files.setdefault(inode, _File())

    def _sync_folder(self, inode: int) -> None:
        needed: set[Name] = set()
        left: list[_Unsynced] = []
        done: list[NameChange] = []
        for unsynced in reversed(self.unsynced):
            unsynced.folders.discard(inode)
            # What a durable change builds upon is durable, too.
            if unsynced.folders and needed.isdisjoint(unsynced.names):
                left.append(unsynced)
            else:
                needed |= unsynced.names
                done.append(unsynced.change)
        for change in reversed(done):
            change_names(self.durable, change)
        self.unsynced = left[::-1]


def change_names(names: dict[Name, int], change: NameChange) -> None:
    """Make one change in a table of names."""
    match change:
        case Create(name, inode):
            names[name] = inode
        case Delete(name):
            names.pop(name, None)
        case Rename(name, to):
            names[to] = names.pop(name)


def _names_of(change: NameChange) -> tuple[Name, ...]:
    return (change.name, change.to) if isinstance(change, Rename) else (change.name,)


def _paths(names: dict[Name, int], folders: set[int]) -> dict[str, int]:
    """The inode of each path that can be reached from the root."""
    inside: dict[int, list[tuple[str, int]]] = {}
    for (folder, name), inode in names.items():
        inside.setdefault(folder, []).append((name, inode))
    found: dict[str, int] = {}
    to_visit = [("", ROOT)]
    while to_visit:
        path, folder = to_visit.pop()
        for name, inode in inside.get(folder, []):
            found[path + name] = inode
            if inode in folders:
                to_visit.append((f"{path}{name}/", inode))
    return found


def _apply(content: bytearray, change: Write | Truncate) -> None:
    end = change.size if isinstance(change, Truncate) else change.offset + len(change.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if isinstance(change, Truncate):
        del content[end:]
    else:
        content[change.offset : end] = change.data


def _sectors(write: Write) -> list[Write]:
    """The write in pieces that end where the sectors of the disk end."""
    pieces = []
    start, end = write.offset, write.offset + len(write.data)
    while start < end:
        stop = min(end, start - start % _SECTOR + _SECTOR)
        pieces.append(Write(write.inode, start, write.data[start - write.offset : stop - write.offset]))
        start = stop
    return pieces
