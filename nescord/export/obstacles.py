"""What keeps an export from being written: one file of it, or all."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nescord.errors import ExportError

_IN_THE_WAY = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.EEXIST, errno.ENOTEMPTY)
_NO_NAME = (errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ)


class InTheWayError(Exception):
    """Something that is not ours stands where a file should be; the message is the reason, for a person."""


@contextmanager
def in_the_way(name: str) -> Iterator[None]:
    """One step on the path of a file: what keeps this file from being there, and none beside it.

    Raises:
        InTheWayError: that is so. OSError: it is another trouble, or there is no such thing.
    """
    try:
        yield
    except PermissionError:
        raise InTheWayError(f"{name} may not be opened or replaced: check who owns it") from None
    except OSError as error:
        if error.errno in _NO_NAME:
            raise InTheWayError(f"the file system has no names such as {name}: export to another one") from None
        if error.errno in _IN_THE_WAY:
            raise InTheWayError(f"{name} is a link, or not what should be there: move it away") from None
        raise


@contextmanager
def told(root: Path) -> Iterator[None]:
    """What disks do to a whole export.

    Raises:
        ExportError: the disk does not take it.
    """
    try:
        yield
    except OSError as error:
        raise ExportError(f"{root} cannot be written: {error.strerror} (check the disk and who owns it)") from error
