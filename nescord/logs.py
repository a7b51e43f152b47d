"""What a child process prints, in a file that stays small."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LARGEST = 5 * 2**20
_TAIL_BYTES = 4096
_TAIL_LINES = 15


class Log:
    """A file that processes append to; the one before it is kept as `NAME.1`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = 0

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor to hand to a child; what was written before is not its own."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._begun = os.fstat(fd).st_size
            yield fd
        finally:
            os.close(fd)

    def keep_small(self) -> None:
        """Move what there is out of the way when it is much. A line written right now may be lost."""
        try:
            if self._path.stat().st_size > _LARGEST:
                # Copied, since the child goes on writing to the same file.
                shutil.copyfile(self._path, self._path.with_name(self._path.name + ".1"))
                os.truncate(self._path, 0)
                self._begun = 0
        except OSError:
            return  # a full disk: the services matter more

    def tail(self) -> str:
        """The last lines of this life, for a message."""
        try:
            with self._path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._begun, end - _TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
        except OSError:
            return ""
        return "; the end of its log ({}):\n{}".format(self._path, "\n".join(lines)) if lines else ""
