"""A little room on the disk, put by while there is enough and given up at a start that finds none.

SQLite cannot even be read where it may not make its shared memory (32 KiB beside the database): without this, a service
that is restarted on a full disk would not come back for searching. A disk may also be full of files, however small:
some empty ones keep places for those that are needed.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from nescord import durable
from nescord.home import DataFolder

_SIZE = 2**20
_ENOUGH = 64 * 2**20
_FILES = 12
_ENOUGH_FILES = 64


def put_by(folder: DataFolder) -> None:
    """Put it by, where it is not there and not needed."""
    with suppress(OSError):
        if _file(folder).exists():
            return
        disk = os.statvfs(folder.run)
        if _room(disk) > _ENOUGH and _files(disk) > _ENOUGH_FILES:
            for place in _places(folder):
                place.touch(mode=0o600)
            durable.write_file(_file(folder), os.urandom(_SIZE))  # a file system may compress what is regular


def give_up(folder: DataFolder) -> bool:
    """Give it up where the disk is full; whether it was there."""
    with suppress(OSError):
        if is_full(folder):
            _file(folder).unlink()
            for place in _places(folder):
                place.unlink(missing_ok=True)
            return True
    return False


def is_full(folder: DataFolder) -> bool:
    """Whether there is too little room to open a database."""
    disk = os.statvfs(folder.database.parent)
    return _room(disk) < _SIZE or _files(disk) < _FILES


def _room(disk: os.statvfs_result) -> int:
    """Bytes that we may use there."""
    return disk.f_bavail * disk.f_frsize


def _files(disk: os.statvfs_result) -> float:
    """How many files we may make there. Some file systems make room for them as they are needed, and say 0."""
    return disk.f_favail if disk.f_files else math.inf


def _places(folder: DataFolder) -> list[Path]:
    return [_file(folder).with_suffix(f".{number}") for number in range(_FILES)]


def _file(folder: DataFolder) -> Path:
    return folder.run / "reserve"
