"""Whether Chroma is needed, and where it may be: what every ingest asks, so numpy and Chroma are not imported here."""

from __future__ import annotations

import apsw

from nescord import services_file
from nescord.catalog import vectors as sql
from nescord.home import DataFolder
from nescord.index.seal import Folder
from nescord.locks import Locks
from nescord.settings import Settings


def has_server(settings: Settings, folder: DataFolder, locks: Locks) -> bool:
    """Whether a Chroma server is named by CHROMA_URL or runs beside us. It need not answer."""
    return settings.chroma_url is not None or server_beside(folder, locks) is not None


def server_beside(folder: DataFolder, locks: Locks) -> str | None:
    """Where the Chroma server is that `nescord services` runs, if it does."""
    services = services_file.running(folder, locks)
    return None if services is None else services.chroma_url


def needs_drain(
    connection: apsw.Connection, settings: Settings, folder: DataFolder, locks: Locks, model: int, behind: int
) -> bool:
    """Whether it is worth to open Chroma: something is `behind`, or its folder is not as we left it."""
    if behind or settings.chroma_url is not None:
        return bool(behind)
    place = Folder(folder.chroma, folder.run)
    if has_server(settings, folder, locks):
        return bool(place.doubt())
    return not place.is_sealed() and sql.count_indexable(connection, model) > 0
