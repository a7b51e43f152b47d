"""The disk that the data folder lies on: small, and able to be full, read-only, or gone between two writes.

As root in a namespace of our own it is an ext4 image on a loop device, else a tmpfs, else a plain folder that can do
none of this.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

Kind = Literal["ext4", "tmpfs", "folder"]
# include/uapi/linux/ext4.h: EXT4_IOC_SHUTDOWN, with EXT4_GOING_FLAGS_NOLOGFLUSH.
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
_PIECE = 1 << 20


class VolumeError(Exception):
    """The disk could not be made to do that."""


class Volume:
    """One disk, mounted at `path`."""

    def __init__(self, scratch: Path, megabytes: int, *, is_alone: bool) -> None:
        self.path = scratch / "volume"
        self.path.mkdir()
        self._image = scratch / "volume.img"
        self._filler = self.path / "filler"
        self.kind: Kind = self._mount(megabytes) if is_alone else "folder"

    @property
    def is_limited(self) -> bool:
        """Whether it can be full."""
        return self.kind != "folder"

    @property
    def can_break(self) -> bool:
        """Whether it can become read-only under those who write, and be pulled out."""
        return self.kind == "ext4"

    def free(self) -> int:
        """Bytes that anybody may still write."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> int:
        """Take all room but so many bytes; how many were taken."""
        taken = 0
        with self._filler.open("ab") as file, suppress(OSError):
            while (room := self.free() - leave) > 0:
                size = min(_PIECE, room)
                os.posix_fallocate(file.fileno(), file.tell() + taken, size)
                taken += size
        return taken

    def release(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink(missing_ok=True)

    def set_read_only(self) -> None:
        """Mount it read-only. Raises VolumeError while anybody has a file open for writing."""
        _run("mount", "-o", "remount,ro", str(self.path))

    def set_writable(self) -> None:
        """Undo `set_read_only`."""
        _run("mount", "-o", "remount,rw", str(self.path))

    def break_read_only(self) -> None:
        """An error of the file system makes it read-only under everybody's hands. Only `mend` helps."""
        device = _run("findmnt", "-no", "SOURCE", str(self.path)).strip().rpartition("/")[2]
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1", encoding="ascii")

    def pull(self) -> None:
        """A power cut: whatever was not synced is gone, and everything is an error. Only `mend` helps."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def mend(self) -> None:
        """Unmount it, check it and mount it again. Raises VolumeError while anybody has a file open."""
        _run("umount", str(self.path))
        _run("e2fsck", "-p", "-f", str(self._image), good=(0, 1))
        self._attach()

    def _mount(self, megabytes: int) -> Kind:
        try:
            with self._image.open("wb") as file:
                file.truncate(megabytes << 20)
            _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
            self._attach()
            return "ext4"
        except (VolumeError, OSError):
            self._image.unlink(missing_ok=True)
        with suppress(VolumeError, OSError):
            _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "soak", str(self.path))
            return "tmpfs"
        return "folder"

    def _attach(self) -> None:
        _run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.path))


def _run(*command: str, good: Sequence[int] = (0,)) -> str:
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode not in good:
        raise VolumeError(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
