"""Faults of the disk: Chroma's folder garbled or gone, no room, read-only, standing still, the power gone."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.soaking.faults import Kind, MissedError, until
from benchmarks.soaking.kinds_process import CONTAINER
from benchmarks.soaking.volume import VolumeError

if TYPE_CHECKING:
    from benchmarks.soaking.world import World

DISK = "the disk"
CHROMA = "the chroma"
_FULL = (3.0, 15.0)
_READ_ONLY = (2.0, 6.0)
_STILL = (2.0, 8.0)
_PROBE = "probe of the soak"
_MENDS = 30.0
_FREEZE, _THAW = 0xC0045877, 0xC0045878  # include/uapi/linux/fs.h: FIFREEZE, FITHAW


class ChromaGarbled(Kind):
    """Bytes in the files of Chroma's folder become others, under a running server or before it starts again."""

    name = "Chroma's store garbled"
    weight = 2
    uses = frozenset({CHROMA, DISK})
    is_fatal = True

    def do(self, world: World, rng: random.Random) -> str:
        files = _files(world.data / "chroma")
        if not files:
            raise MissedError("there is no store yet")
        chosen = rng.sample(files, min(len(files), rng.randint(1, 3)))
        changed = [path.name for path in chosen if _garbled(path, rng)]
        if not changed:
            raise MissedError("the files went while they were to be garbled")
        if rng.random() < 0.7:
            world.platform.kill("chroma", rng)
            return f"other bytes in {', '.join(changed)}, and its server killed"
        return f"other bytes in {', '.join(changed)}"


class ChromaRemoved(Kind):
    """Chroma's folder is gone."""

    name = "Chroma's store removed"
    weight = 1
    uses = frozenset({CHROMA, DISK})
    is_fatal = True

    def do(self, world: World, rng: random.Random) -> str:
        folder = world.data / "chroma"
        files = _files(folder)
        if not files:
            raise MissedError("there is no store yet")
        before = folder.stat().st_ino
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists() and folder.stat().st_ino == before:
            raise MissedError("it could not be removed")
        if rng.random() < 0.7:
            world.platform.kill("chroma", rng)
            return f"{len(files)} files are gone, and its server killed"
        return f"{len(files)} files are gone under its server"


class DiskFull(Kind):
    """No byte is free on the volume."""

    name = "the disk is full"
    weight = 3
    uses = frozenset({DISK})
    is_fatal = True

    def left_out(self, world: World) -> str:
        return "" if world.volume.is_limited else "the volume has no limit of its own"

    def do(self, world: World, rng: random.Random) -> str:
        seconds = rng.uniform(*_FULL)
        taken = world.volume.fill()
        try:
            _refused(world, errno.ENOSPC)
            world.stop.wait(seconds)
        finally:
            world.volume.release()
        return f"ENOSPC for a probe, {taken >> 20} MB taken, given back after {seconds:.0f} s"

    def heal(self, world: World) -> None:
        world.volume.release()


class ReadOnly(Kind):
    """The kernel makes the volume read-only after an error; then it is checked, and mounted for a new container."""

    name = "the disk is read-only"
    weight = 1
    uses = frozenset({DISK, CONTAINER})
    is_fatal = True

    def left_out(self, world: World) -> str:
        return "" if world.volume.can_break else f"the volume is a {world.volume.kind}"

    def do(self, world: World, rng: random.Random) -> str:
        seconds = rng.uniform(*_READ_ONLY)
        world.volume.break_read_only()
        try:
            _refused(world, errno.EROFS)
            world.stop.wait(seconds)
        finally:
            mended(world)
        return f"EROFS for a probe, checked and mounted again after {seconds:.0f} s"


class PowerCut(Kind):
    """What was not synced is gone, and everything with it that ran."""

    name = "the power is cut"
    weight = 1
    uses = frozenset({DISK, CONTAINER})
    is_fatal = True

    def left_out(self, world: World) -> str:
        return "" if world.volume.can_break else f"the volume is a {world.volume.kind}"

    def do(self, world: World, rng: random.Random) -> str:
        world.volume.pull()
        try:
            _refused(world, errno.EIO)
            for pids in world.platform.processes().values():
                for pid in pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        finally:
            mended(world)
        return "EIO for a probe, everything killed, checked and mounted again"


class DiskStill(Kind):
    """The disk takes nothing for some seconds, as one in a network does when that is away."""

    name = "the disk stands still"
    weight = 1
    uses = frozenset({DISK})

    def __init__(self) -> None:
        self._is_frozen = False

    def left_out(self, world: World) -> str:
        return "" if world.volume.can_break else f"the volume is a {world.volume.kind}"

    def do(self, world: World, rng: random.Random) -> str:
        seconds = rng.uniform(*_STILL)
        folder = os.open(world.volume.path, os.O_RDONLY)
        try:
            self._is_frozen = True
            fcntl.ioctl(folder, _FREEZE, 0)
            probe = subprocess.Popen(["touch", str(world.volume.path / _PROBE)])
            world.stop.wait(seconds)
            has_waited = probe.poll() is None
            fcntl.ioctl(folder, _THAW, 0)
            self._is_frozen = False
        finally:
            os.close(folder)
            self.heal(world)
        probe.wait()
        (world.volume.path / _PROBE).unlink(missing_ok=True)
        if not has_waited:
            raise AssertionError("a probe was written while the disk stood still")
        return f"a probe waited for {seconds:.0f} s"

    def heal(self, world: World) -> None:
        if self._is_frozen:
            folder = os.open(world.volume.path, os.O_RDONLY)
            with suppress(OSError):
                fcntl.ioctl(folder, _THAW, 0)
            os.close(folder)
            self._is_frozen = False


def mended(world: World) -> None:
    """Take the container away, check the volume, and let the next container have it."""
    world.platform.pause()
    try:
        failures: list[str] = []

        def is_mended() -> bool:
            try:
                world.volume.mend()
            except VolumeError as error:  # a command beside the service still has a file open
                failures.append(str(error))
                return False
            return True

        if not until(is_mended, _MENDS):
            raise AssertionError(f"the volume cannot be mended: {failures[-1]}")
    finally:
        world.platform.go_on()


def _refused(world: World, wanted: int) -> None:
    """A write to the volume fails with that error, or the fault did not happen."""
    probe = world.volume.path / _PROBE
    try:
        with probe.open("wb") as file:
            file.write(b"\0" * (1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno == wanted:
            return
        raise MissedError(f"a probe was refused with {errno.errorcode.get(error.errno or 0)}") from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    raise MissedError("a probe was written all the same")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def _garbled(path: Path, rng: random.Random) -> bool:
    """Overwrite some bytes in place; whether the file has others now."""
    try:
        with path.open("r+b") as file:
            before = hashlib.sha256(file.read()).digest()
            size = file.tell()
            for _ in range(rng.randint(1, 4)):
                # The head of a file is where most of its structure is.
                place = rng.randrange(min(size, 4096) if rng.random() < 0.5 else size)
                file.seek(place)
                file.write(rng.randbytes(min(rng.choice((16, 512, 8192)), size - place)))
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            return hashlib.sha256(file.read()).digest() != before
    except OSError:
        return False


def kinds() -> list[Kind]:
    """The faults of this module, always in the same order."""
    return [ChromaGarbled(), ChromaRemoved(), DiskFull(), ReadOnly(), PowerCut(), DiskStill()]
