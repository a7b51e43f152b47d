"""Which source a vault's folder is: known, new, or one that has moved. A wrong guess would keep its notes twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nescord.catalog import sources as sources_sql
from nescord.catalog import writeback as writeback_sql
from nescord.catalog.database import Catalog
from nescord.catalog.sources import Source
from nescord.errors import NotFoundError, UsageError, VaultError
from nescord.settings import Settings
from nescord.sources import vault


def source_at(
    catalog: Catalog, settings: Settings, shape: str, root: Path, name: str | None, *, moved: bool, is_kept: bool
) -> Source:
    """The source of the folder `root`, registered on its first ingest if that is kept (no dry run).

    Raises:
        VaultError: a vault of that name lives elsewhere, or the folder lies within a known one.
    """
    with catalog.read() as connection:
        source = sources_sql.by_root(connection, str(root))
        known = sources_sql.all_sources(connection)
    if source:
        if is_kept and "vault_space" in settings.model_fields_set and source.space != settings.vault_space:
            with catalog.write() as connection:
                sources_sql.set_space(connection, source.id, settings.vault_space)
            source = replace(source, space=settings.vault_space)
        return source
    wanted = name or root.name or "vault"
    namesake = next((source for source in known if source.name == wanted), None)
    if namesake and moved:
        if is_kept:
            move(catalog, wanted, root)
        return replace(namesake, root=str(root))
    if namesake:
        raise VaultError(
            f'there is already a vault "{wanted}" at {namesake.root}: has it moved to {root} (--same), or is this '
            "another one (--as NAME)?"
        )
    for other in known:
        if other.root and (root.is_relative_to(other.root) or Path(other.root).is_relative_to(root)):
            raise VaultError(
                f'{root} and the vault "{other.name}" at {other.root} lie one inside the other, which would keep '
                f'notes twice: ingest {other.root}, or remove it first (nescord source remove "{other.name}")'
            )
    kind = vault.kind_of(root)
    if not is_kept:
        return Source(0, wanted, kind, str(root), settings.vault_space, shape, b"", "")
    with catalog.write() as connection:
        writeback_sql.leave(connection, wanted, str(root))
        return sources_sql.add(connection, wanted, kind, str(root), settings.vault_space, shape)


def move(catalog: Catalog, name: str, root: Path) -> Source:
    """The vault `name` lives at `root` now; its notes keep their ids. NotFoundError, VaultError: it cannot."""
    with catalog.write() as connection:
        source = named(sources_sql.by_name(connection, name), name)
        other = sources_sql.by_root(connection, str(root))
        if other and other.id != source.id:
            raise VaultError(f'{root} is already the vault "{other.name}"')
        sources_sql.move(connection, source.id, str(root), vault.kind_of(root))
        return replace(source, root=str(root))


def named(source: Source | None, name: str) -> Source:
    """The source; NotFoundError if there is none of that name."""
    if source is None:
        raise NotFoundError(f'no vault "{name}": see nescord source list')
    return source


def refuse_while_paused(catalog: Catalog) -> None:
    """UsageError if a restore was made and nobody has looked yet what the vaults would change."""
    with catalog.read() as connection:
        snapshot = sources_sql.paused(connection)
    if snapshot:
        raise UsageError(
            f"no vault is taken in since the restore of {snapshot}, or that would undo it: see what would change and "
            "go on with nescord ingest --resume"
        )
