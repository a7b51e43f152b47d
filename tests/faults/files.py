"""Records what a module of ours does to files, so that its power can be cut, too (tests/faults/powercut.py).

`nescord.durable` does everything through its `os`. Here that `os` is one that does it, notes it, and refuses what it
could not note: a call that goes past the record would make its images too kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tests.faults.powercut import Recorder, is_rebuilt

# What changes files or names, or hands a descriptor to somebody who might, and is not recorded below.
_REFUSED = frozenset(
    (
        *("copy_file_range", "dup", "dup2", "fdopen", "link", "makedirs", "posix_fallocate", "pwrite", "pwritev"),
        *("removedirs", "renames", "sendfile", "splice", "symlink", "sync", "writev"),
    )
)


@contextmanager
def recorded_files(recorder: Recorder, *modules: ModuleType) -> Iterator[None]:
    """While the block runs, what these modules (nescord.durable, if none is named) do through `os` is recorded.

    The recorder needs a root. A change outside it raises ValueError, syncs are not passed on to the real disk.
    """
    if not modules:
        from nescord import durable

        modules = (durable,)
    for module in modules:
        assert module.os is os, f"{module.__name__} is recorded already"
        assert not hasattr(module, "shutil"), f"{module.__name__} uses shutil, which is not recorded"
    recording = _RecordingOs(recorder)
    for module in modules:
        module.os = recording  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in modules:
            module.os = os  # type: ignore[attr-defined]


class _RecordingOs:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._opened: dict[int, Path] = {}
        self._inodes: dict[int, int] = {}

    def __getattr__(self, name: str) -> object:
        if name in _REFUSED:
            raise AssertionError(f"os.{name} is not recorded: see tests/faults/files.py")
        return getattr(os, name)

    def open(self, path: str | Path, flags: int, mode: int = 0o777) -> int:
        path = Path(path)
        with self._recorder.recording:
            existed = path.exists()
            is_changed = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_CREAT))
            recorded = self._is_recorded(path) if is_changed else self._recorder.holds(path) and not is_rebuilt(path)
            if recorded and existed:
                self._recorder.inode(path)
            fd = os.open(path, flags, mode)
            if recorded:
                self._opened[fd] = path
                self._inodes[fd] = self._recorder.created(path) if not existed else self._recorder.inode(path)
                if existed and flags & os.O_TRUNC:
                    self._recorder.truncated(self._inodes[fd], 0)
            return fd

    def close(self, fd: int) -> None:
        with self._recorder.recording:
            self._opened.pop(fd, None)
            self._inodes.pop(fd, None)
            os.close(fd)

    def write(self, fd: int, content: bytes | memoryview) -> int:
        with self._recorder.recording:
            written = os.write(fd, content)
            if fd in self._inodes:
                offset = os.lseek(fd, 0, os.SEEK_CUR) - written
                self._recorder.written(self._inodes[fd], offset, bytes(memoryview(content).cast("B")[:written]))
            return written

    def ftruncate(self, fd: int, length: int) -> None:
        with self._recorder.recording:
            os.ftruncate(fd, length)
            if fd in self._inodes:
                self._recorder.truncated(self._inodes[fd], length)

    def truncate(self, path: str | Path, length: int) -> None:
        with self._recorder.recording:
            recorded = self._is_recorded(Path(path))
            inode = self._recorder.inode(Path(path)) if recorded else None
            os.truncate(path, length)
            if inode is not None:
                self._recorder.truncated(inode, length)

    def fsync(self, fd: int) -> None:
        # Not passed on: this machine keeps its power.
        with self._recorder.recording:
            if fd not in self._inodes:
                return
            folder = self._opened[fd]
            if folder.is_dir():
                # Those that somebody made without telling are synced now, too.
                for below in sorted(folder.iterdir()):
                    if below.is_dir():
                        self._recorder.inode(below)
            self._recorder.synced(self._inodes[fd])

    fdatasync = fsync

    def mkdir(self, path: str | Path, mode: int = 0o777) -> None:
        with self._recorder.recording:
            recorded = self._is_recorded(Path(path))
            os.mkdir(path, mode)
            if recorded:
                self._recorder.made_folder(Path(path))

    def replace(self, source: str | Path, target: str | Path) -> None:
        with self._recorder.recording:
            recorded = [self._is_recorded(Path(path)) for path in (source, target)]
            assert recorded[0] == recorded[1], f"{source} → {target}: one is recorded, the other is not"
            if not recorded[0]:
                os.replace(source, target)
                return
            self._recorder.see(Path(source))
            self._recorder.see(Path(target))
            os.replace(source, target)
            self._recorder.renamed(Path(source), Path(target))

    rename = replace

    def unlink(self, path: str | Path) -> None:
        self._remove(Path(path), os.unlink)

    remove = unlink

    def rmdir(self, path: str | Path) -> None:
        self._remove(Path(path), os.rmdir)

    def _remove(self, path: Path, how: Callable[[Path], None]) -> None:
        with self._recorder.recording:
            recorded = self._is_recorded(path)
            if recorded:
                self._recorder.see(path)
            how(path)
            if recorded:
                self._recorder.deleted(path)

    def _is_recorded(self, path: Path) -> bool:
        """Whether a change of this path belongs in the record; ValueError outside of its root."""
        if is_rebuilt(path):
            return False
        if not self._recorder.holds(path):
            raise ValueError(f"{path} is changed, but lies outside of what is recorded")
        return True
