"""Whether Chroma holds what SQLite says it should, asked of Chroma itself.

Count alone proves nothing: it stays right while an index is empty. So ids are compared both ways, all rows are asked
for at once, stored vectors are compared with ours, and some chunks must be found by their own vectors. What the log
has not told Chroma yet is left out on both sides, so a base that is being written to can be judged.

`look_at_index` has it done by a child process (looking.py): a damaged index ends the process that uses it. The child
relies on our holding index.lock, and ends with us.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import apsw

from nescord.catalog import vectors as sql
from nescord.catalog.vectors import LANGUAGE_GROUPS, Collection
from nescord.errors import EmbeddingUnavailableError, LockTimeoutError, NescordError, ServiceUnavailableError
from nescord.index.chroma import ChromaDBService, to_array
from nescord.index.drain import MOST_MISSED, UNREACHABLE, unfindable
from nescord.index.seal import Folder, has_files
from nescord.index.service import place_of
from nescord.index.store import DamagedIndexError, MissingCollectionError
from nescord.persistence.report import Checklist, Outcome, PersistenceReport, failed, passed, warned

if TYPE_CHECKING:
    from nescord.embedding import Vectors
    from nescord.home import DataFolder
    from nescord.opened import OpenBase
    from nescord.settings import Settings

REBUILD = "nescord verify --repair builds the index anew, nothing is embedded for it"
_SAMPLE, _SAMPLE_DEEP = 64, 1000
_CANARIES, _CANARIES_DEEP = 8, 64
_SAME = 1e-5
_BUSY_AFTER = 5.0
_SENTINEL = "sentinel"
_SENTINEL_ROWS = 3
_SENTINEL_DIMS = 8

_WITH_VECTOR = (
    "SELECT chunk.id FROM chunk WHERE chunk.language_group = ?2 AND EXISTS (SELECT 1 FROM embedding "
    "WHERE embedding.model = ?1 AND embedding.text_hash = chunk.text_hash)"
)


class _Compared(NamedTuple):
    """A live collection: what Chroma and SQLite hold besides what the log has yet to tell, and its dimensions."""

    collection: Collection
    stored: set[int]
    expected: set[int]
    dims: int


def look_at_index(checklist: Checklist, connection: apsw.Connection, base: OpenBase, *, deep: bool) -> None:
    """Add the checks `index.…`. The seal of a folder that was sealed and is right is there again afterwards."""
    first, model = _before_opening(connection, base)
    if model is None:
        checklist.add("index.store", first)
        return
    try:
        with place_of(
            base.settings, base.folder, base.locks, timeout=min(base.settings.lock_timeout, _BUSY_AFTER)
        ) as url:
            _look_by_a_child(checklist, base.settings, base.folder, model, url=url, deep=deep)
    except LockTimeoutError as error:
        checklist.add("index.store", warned(f"not looked into: {error}", "verify again when it is done"))
    except (NescordError, OSError) as error:
        checklist.add("index.store", failed(f"{type(error).__name__}: {error}", "verify again"))


def judge(
    checklist: Checklist, service: ChromaDBService, connection: apsw.Connection, model: int, *, deep: bool
) -> None:
    """Compare an open Chroma with SQLite and add the checks but for the sentinel."""
    compared: list[_Compared] = []

    def store() -> Outcome:
        try:
            compared.extend(_all_compared(service, connection, model))
        except (DamagedIndexError, ServiceUnavailableError) as error:
            return failed(str(error), mend_for(error))
        return passed(f"{service.kind}: {', '.join(each.collection.name for each in compared)}")

    checklist.look("index.store", store)
    if not compared:
        return
    sample, canaries = (_SAMPLE_DEEP, _CANARIES_DEEP) if deep else (_SAMPLE, _CANARIES)
    for name, look in (
        ("index.ids", _ids),
        ("index.query_all", lambda each: _query_all(service, connection, each)),
        ("index.vectors", lambda each: _vectors(service, connection, each, sample)),
        ("index.canaries", lambda each: _canaries(service, connection, each, canaries)),
    ):
        checklist.look(name, lambda look=look: _of_all(compared, look))  # type: ignore[misc]


def mend_for(error: NescordError) -> str:
    """What to do about a Chroma that cannot be asked."""
    return REBUILD if isinstance(error, DamagedIndexError) else "start the Chroma server, or unset CHROMA_URL"


def leave_sentinel(service: ChromaDBService, epoch: str, prefix: str) -> str:
    """Write a few rows to a scratch collection; its name. Left behind by a kill, the next drain removes it."""
    name = f"{prefix}-{_SENTINEL}-{secrets.token_hex(8)}"
    try:
        service.ensure_collection(name, _SENTINEL_DIMS, model_key=_SENTINEL, language_group=_SENTINEL, epoch=epoch)
        service.add(name, {chunk: row.tobytes() for chunk, row in enumerate(_sentinel_rows(name), 1)})
    except BaseException:
        service.drop(name)
        raise
    return name


def find_sentinel(service: ChromaDBService, name: str) -> Outcome:
    """Find what another process wrote, by id, by vector and by query; it is removed in any case."""
    try:
        rows = dict(enumerate(_sentinel_rows(name), 1))
        if service.ids(name) != rows.keys():
            return failed(f"of {len(rows)} rows that another process wrote, {service.count(name)} are there", REBUILD)
        wrong = [chunk for chunk, row in service.vectors(name, list(rows)).items() if _differ(row, rows[chunk])]
        lost = service.lost_canaries(name, {chunk: row.tobytes() for chunk, row in rows.items()})
        if wrong or lost:
            return failed(f"rows that another process wrote are changed ({wrong}) or not found ({lost})", REBUILD)
        return passed(f"{len(rows)} rows written by one process, found by another")
    except MissingCollectionError as error:
        return failed(f"what another process wrote is gone: {error}", REBUILD)
    finally:
        service.drop(name)


def _sentinel_rows(name: str) -> Vectors:
    import numpy as np

    rows = np.random.default_rng(list(name.encode())).standard_normal((_SENTINEL_ROWS, _SENTINEL_DIMS))
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")
    return unit


def _before_opening(connection: apsw.Connection, base: OpenBase) -> tuple[Outcome, int | None]:
    """The model whose collections are to be looked into; None with the outcome that there is without opening Chroma."""
    if base.settings.vector == "exact":
        return passed("not used (NESCORD_VECTOR=exact)"), None
    try:
        model = base.meaning.model(connection)
        if model is None or not sql.count_indexable(connection, model):
            return passed("not used (no chunk has a vector)"), None
        if not _live(connection, model):
            return warned("Chroma's index is not built yet; the exact scan answers", "nescord ingest"), None
    except EmbeddingUnavailableError as error:
        return passed(f"not used ({error})"), None
    except apsw.Error as error:
        return failed(f"{type(error).__name__}: {error}", "mend the database first"), None
    return passed(""), model


def _live(connection: apsw.Connection, model: int) -> dict[str, Collection]:
    """The live collection of each language group; {} unless there are all."""
    epoch = sql.epoch(connection)
    live = {
        known.language_group: known
        for known in sql.collections(connection)
        if known.model == model and known.state == "live" and known.epoch == epoch
    }
    return live if len(live) == len(LANGUAGE_GROUPS) else {}


def _look_by_a_child(
    checklist: Checklist, settings: Settings, folder: DataFolder, model: int, *, url: str | None, deep: bool
) -> None:
    from nescord.persistence.looking import Task, run

    was_sealed = False
    if url is None:
        if not has_files(folder.chroma):
            checklist.add("index.store", failed(f"Chroma's folder {folder.chroma} is gone or empty", REBUILD))
            return
        was_sealed = Folder(folder.chroma, folder.run).is_sealed()
    task = Task(
        database=str(folder.database), chroma=str(folder.chroma), run=str(folder.run), url=url or "",
        model=model, prefix=settings.collection_name, deep=deep, seal=was_sealed,
    )  # fmt: skip
    checklist.extend(run(task))


def _all_compared(service: ChromaDBService, connection: apsw.Connection, model: int) -> list[_Compared]:
    stored = service.collections()
    (key,) = connection.execute("SELECT key FROM model WHERE id = ?", (model,)).fetchall()[0]
    compared = []
    for group, collection in _live(connection, model).items():
        metadata = stored.get(collection.name)
        if metadata is None:
            raise MissingCollectionError(f"Chroma has no collection {collection.name}")
        expected = {"epoch": collection.epoch, "model_key": key, "language_group": group}
        if not expected.items() <= metadata.items():
            raise DamagedIndexError(f"collection {collection.name} belongs to another life of the notes")
        untold = {chunk for _, chunk in sql.log_after(connection, collection.applied_seq, group, -1)}
        ids = {chunk for (chunk,) in connection.execute(_WITH_VECTOR, (model, group))}
        dims = metadata.get("dims")
        assert isinstance(dims, int)
        compared.append(_Compared(collection, service.ids(collection.name) - untold, ids - untold, dims))
    return compared


def _of_all(compared: Sequence[_Compared], look: Callable[[_Compared], Outcome]) -> Outcome:
    """The outcome for all collections: what failed, else what was found in each."""
    outcomes = [look(each) for each in compared]
    worst = [each for each in outcomes if each.status == "fail"] or outcomes
    return Outcome(worst[0].status, "; ".join(each.value for each in worst), worst[0].mend)


def _ids(each: _Compared) -> Outcome:
    missing, extra = each.expected - each.stored, each.stored - each.expected
    name = each.collection.language_group
    if missing or extra:
        return failed(f"{name}: {len(missing):,} chunks are missing, {len(extra):,} are there no more", REBUILD)
    return passed(f"{name}: {len(each.stored):,} ids, as SQLite has them")


def _query_all(service: ChromaDBService, connection: apsw.Connection, each: _Compared) -> Outcome:
    rows = each.expected & each.stored
    name = each.collection.language_group
    if not rows:
        return passed(f"{name}: empty")
    missed = sorted(rows - service.all_found(each.collection.name, each.dims))
    # A sound graph does not lead to every row from everywhere (drain.compare): those are asked for one by one.
    is_much = len(missed) > len(rows) * MOST_MISSED
    lost = missed if is_much else unfindable(connection, service, each.collection, missed)
    value = f"{name}: a query for all gives {len(rows) - len(missed):,} of {len(rows):,}"
    if len(lost) > len(rows) * UNREACHABLE:
        return failed(f"{value}; {len(lost):,} are lost", REBUILD)
    return passed(f"{value}, the others are found by their own vectors" if missed else value)


def _vectors(service: ChromaDBService, connection: apsw.Connection, each: _Compared, wanted: int) -> Outcome:
    ours = _sample(connection, each, wanted)
    theirs = service.vectors(each.collection.name, list(ours))
    wrong = [chunk for chunk, row in ours.items() if chunk not in theirs or _differ(theirs[chunk], to_array([row])[0])]
    name = each.collection.language_group
    if wrong:
        return failed(f"{name}: {len(wrong):,} of {len(ours):,} vectors are not those that SQLite has", REBUILD)
    return passed(f"{name}: {len(ours):,} vectors are equal")


def _canaries(service: ChromaDBService, connection: apsw.Connection, each: _Compared, wanted: int) -> Outcome:
    sample = _sample(connection, each, wanted)
    lost = service.lost_canaries(each.collection.name, sample)
    name = each.collection.language_group
    # One row that the graph does not lead to is no sign; an index that is gone finds none.
    if len(lost) > len(sample) / 2:
        return failed(f"{name}: {len(lost)} of {len(sample)} chunks are not found by their own vectors", REBUILD)
    return passed(f"{name}: {len(sample) - len(lost)} of {len(sample)} chunks are found by their own vectors")


def _sample(connection: apsw.Connection, each: _Compared, wanted: int) -> dict[int, bytes]:
    rows = sorted(each.expected & each.stored)
    chosen = random.sample(rows, min(wanted, len(rows)))
    return sql.vectors_of(connection, each.collection.model, each.collection.language_group, chosen)


def _differ(one: Vectors, other: Vectors) -> bool:
    return one.shape != other.shape or not bool((abs(one - other) <= _SAME).all())


def report_of(service: ChromaDBService, connection: apsw.Connection, model: int, *, deep: bool) -> PersistenceReport:
    """What `judge` finds, as a report."""
    checklist = Checklist()
    judge(checklist, service, connection, model, deep=deep)
    return checklist.report()
