"""A little room on the disk, put by while there is enough and given up at a start that finds none.

SQLite cannot even be read where it may not make its shared memory (32 KiB beside the database): without this, a service
that is restarted on a full disk would not come back for searching.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nescord import durable
from nescord.home import DataFolder

_SIZE = 2**20
_ENOUGH = 64 * 2**20


def put_by(folder: DataFolder) -> None:
    """Put it by, where it is not there and not needed."""
    with suppress(OSError):
        if not _file(folder).exists() and _free_at(folder.run) > _ENOUGH:
            durable.write_file(_file(folder), os.urandom(_SIZE))  # a file system may compress what is regular


def give_up(folder: DataFolder) -> bool:
    """Give it up where the disk is full; whether it was there."""
    with suppress(OSError):
        if is_full(folder):
            _file(folder).unlink()
            return True
    return False


def is_full(folder: DataFolder) -> bool:
    """Whether there is too little room to open a database."""
    return _free_at(folder.database.parent) < _SIZE


def _free_at(place: Path) -> int:
    """Bytes that we may use there."""
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize


def _file(folder: DataFolder) -> Path:
    return folder.run / "reserve"
