"""Whether the disk under a knowledge base is one that keeps what it is given.

Each folder is written to as the database and the backups write: a file is written, synced, renamed, read back and
removed. Where a folder lies is judged by mounts: Railway's variables say that a volume is expected, so anything off it
fails. Elsewhere a file system that lives in memory or in a container's layer is a warning: a test or a trial may want
it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from nescord.errors import LockTimeoutError
from nescord.home import DataFolder
from nescord.locks import LockName, Locks
from nescord.persistence.mounts import Mounts
from nescord.persistence.report import Checklist, Outcome, failed, passed, warned
from nescord.settings import Settings

_FREE_SHARE = 0.15
_LEAST_FREE = 64 * 2**20
_FEWEST_INODES = 100


def look_at_volume(checklist: Checklist, settings: Settings, folder: DataFolder, locks: Locks) -> None:
    """Add the checks `volume.…`."""
    places = _places(settings, folder)
    checklist.look("volume.writable", lambda: _writable(places, locks))
    checklist.look("volume.mount", lambda: place_on_mount(settings, folder, Mounts.read()))
    checklist.look("volume.file_system", lambda: _file_system(places, Mounts.read()))
    checklist.look("volume.space", lambda: _space(places))
    checklist.look("volume.inodes", lambda: _inodes(places))


def _places(settings: Settings, folder: DataFolder) -> dict[str, Path]:
    """What the knowledge base writes to, each folder once."""
    places = {"data folder": folder.path, "database": folder.database.parent}
    places |= {"backups": folder.backups, "run": folder.run}
    if settings.chroma_url is None and settings.vector != "exact":
        places["chroma"] = folder.chroma
    names: dict[Path, str] = {}
    for name, path in places.items():
        names.setdefault(path, name)
    return {name: path for path, name in names.items()}


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it, in which it would be made."""
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _writable(places: Mapping[str, Path], locks: Locks) -> Outcome:
    for name, path in places.items():
        place = _existing(path)
        try:
            if name != "chroma" or place != path:
                _try_to_write(place)
                continue
            # A process that seals Chroma's folder must not meet our file there. If one has it, it is written to.
            with suppress(LockTimeoutError), locks.exclusive(LockName.INDEX, timeout=0):
                _try_to_write(place)
        except OSError as error:
            return failed(
                f"{name}: {place} cannot be written ({error.strerror or error})",
                f"make {place} writable for uid {os.geteuid()}, and look whether its disk is full or failing",
            )
    return passed(f"{', '.join(places)}: written, synced, renamed, read back by uid {os.geteuid()}")


def _try_to_write(place: Path) -> None:
    content = secrets.token_bytes(64)
    first, second = (place / f".probe-{secrets.token_hex(8)}" for _ in range(2))
    try:
        with first.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        first.rename(second)
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        if second.read_bytes() != content:
            raise OSError("it gives back other bytes than were written")
    finally:
        for left in (first, second):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def place_on_mount(settings: Settings, folder: DataFolder, mounts: Mounts | None) -> Outcome:
    """Whether what is stored there is there after the next deployment: `volume.mount`."""
    places = _places(settings, folder)
    if mounts is None:
        return passed("mounts are not known on this system")
    database = mounts.of(_existing(places.get("database", places["data folder"])))
    volume = settings.railway_volume_mount_path
    if volume is None:
        if not mounts.is_lost_with_the_container(database):
            return passed(f"on {database.point} ({database.kind})")
        found = f"the database lies on {database.point} ({database.kind}), which is gone with the container or machine"
        if settings.railway_deployment_id is not None:
            return failed(found, "attach a volume to the service: Railway then sets RAILWAY_VOLUME_MOUNT_PATH")
        return warned(found, "put the data folder on a volume or disk (NESCORD_DATA_DIR=…)")
    volume = volume.resolve()
    expected = mounts.of(_existing(volume))
    if expected.point != volume:
        return failed(
            f"RAILWAY_VOLUME_MOUNT_PATH is {volume}, where nothing is mounted",
            f"attach the volume to the service at {volume} and deploy again",
        )
    mend = f"set NESCORD_DATA_DIR={volume / 'nescord'} and move the data folder there"
    for name, path in places.items():
        if mounts.of(_existing(path)).number == expected.number:
            continue
        found = f"{name}: {path} is not on the volume {volume}"
        if name == "chroma":
            return warned(f"{found} (it is rebuilt from the database)", "unset CHROMADB_PERSIST_DIRECTORY")
        return failed(f"{found}: the next deployment loses it", mend)
    if mounts.is_lost_with_the_container(expected):
        return failed(f"the volume {volume} is of type {expected.kind}, which keeps nothing", "attach a real volume")
    return passed(f"on the volume {volume} ({expected.kind})")


def _file_system(places: Mapping[str, Path], mounts: Mounts | None) -> Outcome:
    if mounts is None:
        return passed("file systems are not known on this system")
    kinds = set()
    for name, path in places.items():
        mount = mounts.of(_existing(path))
        kinds.add(f"{mount.kind} at {mount.point}")
        if mount.is_read_only:
            return failed(
                f"{name}: {mount.point} ({mount.kind}) is mounted read-only", f"mount {mount.point} for writing"
            )
        if mount.is_network and name in ("data folder", "database"):
            return warned(
                f"{name}: {mount.point} is a network file system ({mount.kind}), whose locks SQLite cannot rely on",
                "keep the data folder on a local disk and replicate backups instead",
            )
    return passed(", ".join(sorted(kinds)))


def _space(places: Mapping[str, Path]) -> Outcome:
    mend = "make room or let the volume grow"
    worst = passed("")
    for place in _disks(places):
        disk = os.statvfs(place)
        free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        value = f"{free / 2**20:,.0f} MB of {total / 2**20:,.0f} MB are free at {place}"
        if free < _LEAST_FREE:
            return failed(value, mend)
        if free < _FREE_SHARE * total:
            worst = warned(value, mend)
        elif not worst.value:
            worst = passed(value)
    return worst


def _inodes(places: Mapping[str, Path]) -> Outcome:
    mend = "remove small files from that disk: it has no names left for new ones"
    worst = passed("not limited")
    for place in _disks(places):
        disk = os.statvfs(place)
        if not disk.f_files:  # btrfs and others make them as they are needed
            continue
        value = f"{disk.f_favail:,} of {disk.f_files:,} inodes are free at {place}"
        if disk.f_favail < _FEWEST_INODES:
            return failed(value, mend)
        if disk.f_favail < _FREE_SHARE * disk.f_files:
            worst = warned(value, mend)
        elif worst.status == "pass":
            worst = passed(value)
    return worst


def _disks(places: Mapping[str, Path]) -> Iterator[Path]:
    """One existing folder of each disk that is written to."""
    seen = set()
    for path in map(_existing, places.values()):
        device = path.stat().st_dev
        if device not in seen:
            seen.add(device)
            yield path
