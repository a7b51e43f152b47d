"""Which vault an ingest without a path is about: a folder, or a git repository through its mirror."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nescord.catalog import sources as sources_sql
from nescord.catalog.database import Catalog
from nescord.catalog.sources import Source
from nescord.errors import VaultError
from nescord.home import DataFolder
from nescord.opened import OpenBase
from nescord.settings import Settings
from nescord.sources import vault


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

    A mirror that lies in another data folder than before, since that was moved or restored, is a known one.

    Raises:
        VaultError: no vault is named, or there is no such folder.
    """
    from nescord.sources.git_remote import Remote

    remote = None if path else Remote.of(base.settings)
    if remote is None:
        chosen = path or base.settings.vault
        if chosen is None:
            raise VaultError("no vault named: nescord ingest VAULT, or set NESCORD_VAULT or NESCORD_VAULT_GIT_URL")
        return vault.real_root(Path(chosen).expanduser()), name, moved
    from nescord.sources.git import notes_in

    root = notes_in(remote, base.folder.git_mirrors)
    with catalog.read() as connection:
        known = _elsewhere(sources_sql.all_sources(connection), base.folder, root)
    if known and name is None:
        return root, known.name, True
    return root, name or remote.name, moved


def _elsewhere(sources: Iterable[Source], folder: DataFolder, root: Path) -> Source | None:
    """The source whose notes come from the same place below another data folder."""
    tail = root.relative_to(folder.path).parts
    return next(
        (each for each in sources if each.root != str(root) and Path(each.root).parts[-len(tail) :] == tail), None
    )
