"""Which vault an ingest without a path is about: a folder, or a git repository through its mirror."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nescord.catalog import sources as sources_sql
from nescord.catalog.database import Catalog
from nescord.catalog.sources import Source
from nescord.errors import VaultError
from nescord.home import DataFolder
from nescord.opened import OpenBase
from nescord.settings import Settings
from nescord.sources import vault

if TYPE_CHECKING:
    from nescord.sources.git_remote import Remote

# The names that `Remote.mirror_name` gives.
_MIRROR = re.compile("[0-9a-f]{16}")


def sync(settings: Settings, folder: DataFolder) -> bool:
    """Fetch what is new in the repository that the settings name; whether there was anything. False if none is named.

    The caller holds ingest.lock.

    Raises:
        ServiceUnavailableError, VaultError, DiskError: see `git.sync`.
    """
    from nescord.sources import git
    from nescord.sources.git_remote import Remote

    remote = Remote.of(settings)
    return remote is not None and git.sync(remote, folder.git_mirrors)


def wanted(settings: Settings, path: Path | str | None) -> str:
    """What tells one vault from another, before anything is known about it."""
    if path or settings.vault_git_url is None:
        return str(Path(path or settings.vault or "").expanduser().resolve())
    return "\n".join((settings.vault_git_url, settings.vault_git_branch or "", settings.vault_git_folder or ""))


def find(
    base: OpenBase, catalog: Catalog, path: Path | str | None, name: str | None, *, moved: bool
) -> tuple[Path, str | None, bool]:
    """The folder to walk, the name to register it by (None: the folder's), and whether it is a known one that moved.

    A mirror that lies in another data folder than before, since that was moved or restored, is a known one. So is the
    only one of the same repository when another branch of it is named. Mirrors that no source needs any more go.

    Raises:
        VaultError: no vault is named, or there is no such folder.
    """
    from nescord.sources.git_remote import Remote

    remote = None if path else Remote.of(base.settings)
    with catalog.read() as connection:
        sources = sources_sql.all_sources(connection)
    if path is None:
        _remove_unwanted(base.folder.git_mirrors, sources, remote)
    if remote is None:
        chosen = path or base.settings.vault
        if chosen is None:
            raise VaultError("no vault named: nescord ingest VAULT, or set NESCORD_VAULT or NESCORD_VAULT_GIT_URL")
        return vault.real_root(Path(chosen).expanduser()), name, moved
    from nescord.sources.git import notes_in

    root = notes_in(remote, base.folder.git_mirrors)
    known = _elsewhere(sources, base.folder, root) or _of_another_branch(sources, base.folder, root, remote)
    if known and name is None:
        return root, known.name, True
    return root, name or remote.name, moved


def _elsewhere(sources: Iterable[Source], folder: DataFolder, root: Path) -> Source | None:
    """The source whose notes come from the same place below another data folder."""
    tail = root.relative_to(folder.path).parts
    return next(
        (each for each in sources if each.root != str(root) and Path(each.root).parts[-len(tail) :] == tail), None
    )


def _of_another_branch(sources: Iterable[Source], folder: DataFolder, root: Path, remote: Remote) -> Source | None:
    """The source of the same folder in another mirror of the repository, if there is one and no more."""
    from nescord.sources.git import is_of

    mirrors = Path(os.path.realpath(folder.git_mirrors))
    within = root.relative_to(mirrors).parts[1:]
    found = []
    for each in sources:
        parts = Path(each.root).relative_to(mirrors).parts if Path(each.root).is_relative_to(mirrors) else ()
        if parts and parts[1:] == within and is_of(remote, mirrors / parts[0]):
            found.append(each)
    return found[0] if len(found) == 1 else None


def _remove_unwanted(mirrors: Path, sources: Iterable[Source], remote: Remote | None) -> None:
    """Remove the mirrors in which no source's notes lie, also not seen from where the data folder was before."""
    wanted = {part for each in sources for part in Path(each.root).parts}
    if remote:
        wanted.add(remote.mirror_name)
    for each in mirrors.iterdir() if mirrors.is_dir() else ():
        if _MIRROR.fullmatch(each.name) and each.name not in wanted and each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
