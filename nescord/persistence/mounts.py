"""Which mount a path lies on, from Linux's own list. Elsewhere nothing is known, and nothing is made up."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SELF = Path("/proc/self")
# How Docker and Podman mark what they run. Other runtimes are known by a root that is an overlay.
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_OCTAL = re.compile(rb"\\([0-7]{3})")
# Gone with the machine or the container.
_FLEETING = frozenset({"tmpfs", "ramfs", "overlay", "aufs", "fuse.fuse-overlayfs"})
_NETWORK = re.compile(r"nfs.*|cifs|smb.*|9p|ceph|glusterfs|afs|fuse\.(sshfs|s3fs|rclone|glusterfs|gcsfuse)")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of mountinfo: `options` are those of the mount and of its file system together."""

    number: int
    point: Path
    kind: str
    options: frozenset[str]

    @property
    def is_read_only(self) -> bool:
        return "ro" in self.options

    @property
    def is_fleeting(self) -> bool:
        """Whether what it holds lives in memory or in a container's own layer."""
        return self.kind in _FLEETING

    @property
    def is_network(self) -> bool:
        return _NETWORK.fullmatch(self.kind) is not None


@dataclass(frozen=True, slots=True)
class Mounts:
    """Every mount that this process sees, in the order of mounting."""

    mounts: Sequence[Mount]
    is_container: bool

    @classmethod
    def read(cls) -> Mounts | None:
        """As they are now; None where there is no list (macOS)."""
        try:
            mounts = parse((_SELF / "mountinfo").read_bytes())
        except OSError:
            return None
        is_overlay = any(mount.point == Path("/") and mount.kind in _FLEETING for mount in mounts)
        return cls(mounts, is_overlay or any(mark.exists() for mark in _CONTAINER_MARKS))

    def of(self, path: Path) -> Mount:
        """The mount of an existing path, as the kernel says; where it does not, by the longest mount point above."""
        number = _number_of(path)
        for mount in self.mounts:
            if mount.number == number:
                return mount
        above = [mount for mount in self.mounts if path.is_relative_to(mount.point)]
        # Of several at one place the last covers the others.
        return max(reversed(above), key=lambda mount: len(mount.point.parts))

    def is_lost_with_the_container(self, mount: Mount) -> bool:
        """Whether the next deployment, or a restart of the machine, starts without what is stored there."""
        return mount.is_fleeting or (self.is_container and mount.point == Path("/"))


def parse(mountinfo: bytes) -> list[Mount]:
    """Lines of mountinfo (proc(5)): blanks and backslashes in paths are written as octal escapes."""
    mounts = []
    for line in mountinfo.splitlines():
        mine, _, rest = line.partition(b" - ")
        number, _, _, _, point, options, *_ = mine.split(b" ")
        kind, _, super_options = rest.split(b" ", 2)
        path = Path(os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), point)))
        flags = frozenset(os.fsdecode(options + b"," + super_options).split(","))
        mounts.append(Mount(int(number), path, os.fsdecode(kind), flags))
    return mounts


def _number_of(path: Path) -> int | None:
    flags = os.O_RDONLY | getattr(os, "O_PATH", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return None
    try:
        for line in (_SELF / "fdinfo" / str(descriptor)).read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "mnt_id":
                return int(value)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None
