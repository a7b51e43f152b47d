"""Tell Chroma what has changed: SQLite's log is followed, collections that cannot be trusted are rebuilt.

Every step may be cut off and said again. A log row only means "look at this chunk": whether it is added or deleted
follows from what SQLite holds now. The caller holds index.lock; nothing here embeds or changes notes.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import apsw

from nescord.catalog import vectors as sql
from nescord.catalog.database import Catalog
from nescord.catalog.vectors import LANGUAGE_GROUPS, Collection
from nescord.index.chroma import BATCH, ChromaDBService, collection_name
from nescord.index.store import DamagedIndexError

# Rows of the log kept though all were told: an exact matrix of some process may still follow them.
KEPT_ROWS = 10_000
_ATTEMPTS = 3
_CATCH_UPS = 20
_SAMPLE = 64
_CANARIES = 4
# Share of rows that a query for all may miss before it is not worth asking for each of them.
MOST_MISSED = 0.1
# Share of rows that the graph of a sound, freshly built index may not lead to at all: 4 of 5,700 among near duplicates.
# What is lost with a batch or a segment is more.
UNREACHABLE = 0.005


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What Chroma was told: log rows applied, rows added and deleted, collections built anew, and what was found."""

    applied: int = 0
    added: int = 0
    deleted: int = 0
    rebuilt: tuple[str, ...] = ()
    found: tuple[str, ...] = ()

    @property
    def has_written(self) -> bool:
        return bool(self.added or self.deleted or self.rebuilt)


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """Rows in the new collections, and embeddings that it took: none, ever."""

    indexed: int
    embedded: int = 0


def drain(catalog: Catalog, service: ChromaDBService, model_key: str, *, prefix: str) -> DrainReport:
    """Bring the collections of a model up to date; those that are missing, foreign or damaged are built anew.

    Raises:
        DamagedIndexError: the store stays damaged, though it was begun anew.
        ServiceUnavailableError: the server went away; what it was told stays told, the next drain goes on.
    """
    return _mending(catalog, service, lambda: _Follower(catalog, service, model_key, prefix).drain())


def rebuild(catalog: Catalog, service: ChromaDBService, model_key: str, *, prefix: str) -> RebuildReport:
    """Build the collections of a model anew from the stored vectors, and let them take the place of the old ones."""

    def build() -> DrainReport:
        follower = _Follower(catalog, service, model_key, prefix)
        follower.begin_anew()
        return follower.drain()

    _mending(catalog, service, build)
    with catalog.read() as connection:
        model = sql.model_id(connection, model_key) or 0
        return RebuildReport(sql.count_indexable(connection, model))


def _mending(catalog: Catalog, service: ChromaDBService, work: Callable[[], DrainReport]) -> DrainReport:
    found: list[str] = [service.damage] if service.damage else []
    if service.damage:
        _forget_collections(catalog)
        service.damage = ""
    for _ in range(_ATTEMPTS):
        try:
            report = work()
        except DamagedIndexError as error:
            with catalog.read() as connection:
                names = [known.name for known in sql.collections(connection)]
            service.start_over(str(error), names)
            _forget_collections(catalog)
            found.append(str(error))
            service.damage = ""
        else:
            service.is_in_doubt = False
            return replace(report, found=(*found, *report.found))
    raise DamagedIndexError(f"Chroma is damaged again and again: {found[-1]}")


def _forget_collections(catalog: Catalog) -> None:
    """The store is empty. (Killed before this, SQLite names collections that Chroma lacks: the same rebuild.)"""
    with catalog.write() as connection:
        for known in sql.collections(connection):
            sql.drop_collection(connection, known.name)


class _Follower:
    """One drain: the model, the epoch, and what was done so far."""

    def __init__(self, catalog: Catalog, service: ChromaDBService, model_key: str, prefix: str) -> None:
        self._catalog = catalog
        self._service = service
        self._model_key = model_key
        self._prefix = prefix
        with catalog.write() as connection:
            self._model = sql.add_model(connection, model_key)
            self._epoch = sql.epoch(connection)
        self._report = DrainReport()

    def drain(self) -> DrainReport:
        self._drop_strangers()
        with self._catalog.read() as connection:
            if next(sql.all_vectors(connection, self._model, None), None) is None and not self._known(connection):
                return self._report  # nothing is embedded yet: not even the number of dimensions is known
        for group in LANGUAGE_GROUPS:
            live = self._trusted(group, "live")
            if live is not None:
                self._give_up_building(group)  # a rebuild was killed, and what it was to replace is right
                self._catch_up(live)
            else:
                self._build(group)
        self._drop_old()
        with self._catalog.write() as connection:
            sql.trim_log(connection, KEPT_ROWS)
        return self._report

    def begin_anew(self) -> None:
        """No collection of the model counts as live or half built any more; the live ones answer until the swap."""
        for group in LANGUAGE_GROUPS:
            self._give_up_building(group)
        self._drop_old()
        with self._catalog.read() as connection:
            is_empty = next(sql.all_vectors(connection, self._model, None), None) is None
        for group in () if is_empty else LANGUAGE_GROUPS:
            self._build(group)

    def _known(self, connection: apsw.Connection) -> list[Collection]:
        return [known for known in sql.collections(connection) if known.model == self._model]

    def _trusted(self, group: str, state: str) -> Collection | None:
        """The collection of that state, if it is of this life of the knowledge base and Chroma has it."""
        stored = self._service.collections()
        with self._catalog.read() as connection:
            known = self._known(connection)
        for found in known:
            if found.language_group != group or found.state != state or found.epoch != self._epoch:
                continue
            expected = {"epoch": self._epoch, "model_key": self._model_key, "language_group": group}
            metadata = stored.get(found.name)
            if metadata is not None and expected.items() <= metadata.items():
                return found
            why = "Chroma has no such collection" if metadata is None else "it belongs to another life of the notes"
            self._note(f"collection {found.name} is built anew: {why}")
        return None

    def _build(self, group: str) -> None:
        collection = self._trusted(group, "building")
        done = self._service.ids(collection.name) if collection is not None else set()
        if collection is None:
            collection = self._begin(group)
        with self._catalog.read() as connection:
            batch: dict[int, bytes] = {}
            for chunk, _, vector in sql.all_vectors(connection, self._model, group):
                if chunk in done:
                    continue
                batch[chunk] = vector
                if len(batch) == BATCH:
                    self._service.add(collection.name, batch)
                    self._count(added=len(batch))
                    batch = {}
            if batch:
                self._service.add(collection.name, batch)
                self._count(added=len(batch))
        self._catch_up(collection, is_new=True)
        with self._catalog.write() as connection:
            for known in self._known(connection):
                if known.language_group != group:
                    continue
                state = "live" if known.name == collection.name else "old"
                sql.put_collection(connection, replace(known, state=state))
        self._report = replace(self._report, rebuilt=(*self._report.rebuilt, collection.name))

    def _begin(self, group: str) -> Collection:
        name = collection_name(self._prefix, self._model_key, group, self._epoch)
        self._give_up_building(group)
        taken = set(self._service.collections())
        with self._catalog.write() as connection:
            if name in taken | {known.name for known in sql.collections(connection)}:
                name = f"{name}-{secrets.token_hex(4)}"
            # From here on the log is kept for it: all that happens after this row will be told again.
            seq = sql.last_seq(connection)
            collection = Collection(name, self._model, group, self._epoch, "building", seq)
            sql.put_collection(connection, collection)
            first = next(sql.all_vectors(connection, self._model, None), None)
        dims = len(first[2]) // 4 if first else 0
        self._service.ensure_collection(name, dims, model_key=self._model_key, language_group=group, epoch=self._epoch)
        return collection

    def _give_up_building(self, group: str) -> None:
        with self._catalog.write() as connection:
            for known in self._known(connection):
                if known.language_group == group and known.state == "building":
                    sql.put_collection(connection, replace(known, state="old"))

    def _catch_up(self, collection: Collection, *, is_new: bool = False) -> None:
        """Follow the log to its end, then compare with SQLite as of that very row."""
        applied, before = collection.applied_seq, self._report
        for _ in range(_CATCH_UPS):
            applied = self._follow(collection, applied)
            with self._catalog.read() as connection:
                if sql.log_after(connection, applied, collection.language_group, 1):
                    continue  # another process was quick
                last = max(applied, sql.last_seq(connection))
                has_written = is_new or self._report != before
                if has_written or self._service.is_in_doubt:
                    is_thorough = is_new or self._service.is_in_doubt
                    compare(connection, self._service, collection, is_thorough=is_thorough, is_new=is_new)
            if last > collection.applied_seq:
                self._set_applied(collection, last)
            return

    def _follow(self, collection: Collection, applied: int) -> int:
        while True:
            with self._catalog.read() as connection:
                rows = sql.log_after(connection, applied, collection.language_group, BATCH)
                chunks = list(dict.fromkeys(chunk for _, chunk in rows))
                present = sql.vectors_of(connection, self._model, collection.language_group, chunks)
            if not rows:
                return applied
            self._service.add(collection.name, present)
            deleted = self._service.delete(collection.name, [chunk for chunk in chunks if chunk not in present])
            applied = rows[-1][0]
            self._set_applied(collection, applied)
            self._count(applied=len(rows), added=len(present), deleted=deleted)

    def _set_applied(self, collection: Collection, seq: int) -> None:
        with self._catalog.write() as connection:
            sql.set_applied(connection, collection.name, seq)

    def _drop_old(self) -> None:
        with self._catalog.read() as connection:
            old = [
                known.name
                for known in sql.collections(connection)
                if known.state == "old" or (known.epoch != self._epoch and known.model == self._model)
            ]
        for name in old:
            self._service.drop(name)
            with self._catalog.write() as connection:
                sql.drop_collection(connection, name)

    def _drop_strangers(self) -> None:
        """What nobody names any more. On a server, which others may use, only what says that it is ours."""
        with self._catalog.read() as connection:
            known = {row.name for row in sql.collections(connection)}
        for name, metadata in self._service.collections().items():
            if name not in known and (metadata.get("epoch") == self._epoch or not self._service.is_shared):
                self._service.drop(name)

    def _note(self, message: str) -> None:
        self._report = replace(self._report, found=(*self._report.found, message))

    def _count(self, *, applied: int = 0, added: int = 0, deleted: int = 0) -> None:
        report = self._report
        self._report = replace(
            report, applied=report.applied + applied, added=report.added + added, deleted=report.deleted + deleted
        )


def compare(
    connection: apsw.Connection,
    service: ChromaDBService,
    collection: Collection,
    *,
    is_thorough: bool,
    is_new: bool = False,
) -> None:
    """Ask Chroma itself whether it holds what SQLite holds. Only right while nothing of the log is left to tell.

    Counts that agree, and sampled ids that are all known, leave no room for a lost row. `is_thorough` compares every
    id and, unless the collection `is_new`, asks for all rows at once.

    Raises:
        DamagedIndexError: it does not.
    """
    name, group = collection.name, collection.language_group
    expected = sql.count_indexable(connection, collection.model, group)
    counted = service.count(name)
    if counted != expected:
        raise DamagedIndexError(f"collection {name} holds {counted} rows instead of {expected}")
    if not expected:
        return
    offset = random.randrange(max(1, expected - _SAMPLE + 1))
    chunks = service.page_of_ids(name, _SAMPLE, offset)
    stored = sql.vectors_of(connection, collection.model, group, chunks)
    if len(stored) != len(chunks):
        raise DamagedIndexError(f"collection {name} holds chunks that are no longer there")
    canaries = {chunk: stored[chunk] for chunk in random.sample(chunks, min(_CANARIES, len(chunks)))}
    # One row that the graph does not lead to is no sign; an index that is gone finds none.
    lost = service.lost_canaries(name, canaries)
    if len(lost) > len(canaries) / 2:
        raise DamagedIndexError(f"collection {name} does not find chunks by their own vectors: {lost}")
    if is_thorough:
        ids = {chunk for chunk, _, _ in sql.all_vectors(connection, collection.model, group)}
        if service.ids(name) != ids:
            raise DamagedIndexError(f"collection {name} holds other chunks than the notes have")
        if is_new:
            return  # what its graph does not lead to was never reachable, and cannot have been lost
        missed = sorted(ids - service.all_found(name, len(next(iter(stored.values()))) // 4))
        lost = missed if len(missed) > len(ids) * MOST_MISSED else unfindable(connection, service, collection, missed)
        if len(lost) > len(ids) * UNREACHABLE:
            raise DamagedIndexError(f"collection {name} does not give all its rows: {len(lost)} of {len(ids)} are lost")


def unfindable(
    connection: apsw.Connection, service: ChromaDBService, collection: Collection, chunks: Sequence[int]
) -> list[int]:
    """Those of the chunks that their own stored vectors do not find."""
    stored = sql.vectors_of(connection, collection.model, collection.language_group, chunks)
    return service.lost_canaries(collection.name, stored)
