"""Imports exports of Discord in a process that is killed before its nth transaction: `FOLDER NUMBER FILE…`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vaults import open_base

from nescord import ingest
from nescord.catalog.database import Catalog

if TYPE_CHECKING:
    import apsw

whole = Catalog.write
left = int(sys.argv[2])


@contextmanager
def counted(self: Catalog) -> Iterator[apsw.Connection]:
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    with whole(self) as connection:
        yield connection


Catalog.write = counted  # type: ignore[method-assign]  # to die between two transactions
importing_batches = sys.modules["nescord.ingest"]
assert importing_batches is ingest
ingest.BATCH_NOTES = 1
with open_base(Path(sys.argv[1])) as km:
    km.import_discord([Path(name) for name in sys.argv[3:]])
