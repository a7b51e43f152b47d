"""SQL of what is kept of one person, in all tables: counted, listed and erased.

A person is `user:<id>`. Theirs are the notes of ours that they wrote, in whatever space, and all of ours in their own;
what comes from a vault is never theirs, whatever it says of its author. `before` (UTC text) leaves alone what is
younger: an erasure that a restore repeats must not touch what the person wrote after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import apsw

from nescord.catalog import cards as cards_sql
from nescord.catalog import conversations as conversations_sql
from nescord.catalog import notes as notes_sql
from nescord.catalog import revisions as revisions_sql
from nescord.identifiers import made_at
from nescord.times import utc_text

# Who used what is nobody's concern any more; how much it was, the budget has to know.
NOBODY = "erased"

_IS_THEIRS = "owner = 'us' AND (author = :who OR space = :who)"
# A question has no asker. Theirs are those that were asked where their space was seen, and nobody else's.
_ASKED_ALONE = (
    "(EXISTS (SELECT 1 FROM json_each(spaces) WHERE value = :who) "
    "AND NOT EXISTS (SELECT 1 FROM json_each(spaces) WHERE value LIKE 'user:%' AND value <> :who))"
)
# A shared answer is kept as a conversation moments later; a bot that starts again goes on for as long as Discord waits.
_MOMENTS = 15 * 60
# Besides those that they are known to have asked: the same words in the same spaces at about the same time, and nobody
# else's conversation is nearer. A tag that was chosen stands before the words.
_ASKED = f"""({_ASKED_ALONE} OR id IN (
    WITH said (second, spaces, text) AS MATERIALIZED (
        SELECT unixepoch(at), spaces, question FROM conversation WHERE who = :who
        UNION SELECT unixepoch(at), spaces, query FROM search_event WHERE who = :who
    ), elses (second, spaces, text) AS MATERIALIZED (
        SELECT unixepoch(at), spaces, question FROM conversation WHERE who <> :who
    ), asked (id, second, spaces, text) AS MATERIALIZED (
        SELECT id, unixepoch(at), spaces, text FROM question
        UNION ALL SELECT id, unixepoch(at), spaces, substr(text, 7 + instr(substr(text, 6), '" ')) FROM question
        WHERE text LIKE 'tag:"%" %'
    )
    SELECT asked.id FROM asked JOIN said USING (spaces, text)
    WHERE abs(said.second - asked.second) <= {_MOMENTS}
    AND NOT EXISTS (SELECT 1 FROM json_each(asked.spaces) WHERE value LIKE 'user:%' AND value <> :who)
    AND NOT EXISTS (SELECT 1 FROM elses WHERE elses.spaces = asked.spaces AND elses.text = asked.text
        AND abs(elses.second - asked.second) < abs(said.second - asked.second))
))"""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Rows of one table. `theirs` and `is_old` are conditions; the latter is about the moment `:before`. Of theirs,
    those are counted that are `counted`."""

    name: str
    table: str
    theirs: str
    is_old: str
    columns: str = "*"
    counted: str = "true"


# In the order in which they are erased: a question is known by what was searched and asked.
_KINDS = (
    _Kind("questions", "question", _ASKED, "at < :before", "at, spaces, text, mode, is_answered"),
    _Kind("search_events", "search_event", "who = :who", "at < :before"),
    _Kind("conversations", "conversation", "who = :who", "at < :before"),
    _Kind(
        "review_cards",
        "review_card",
        "who = :who",
        # A card does not say when it was last seen; the event of it does.
        "NOT EXISTS (SELECT 1 FROM review_event AS seen WHERE seen.who = review_card.who "
        "AND seen.note_id = review_card.note_id AND seen.at >= :before)",
    ),
    _Kind("review_events", "review_event", "who = :who", "at < :before"),
    _Kind("preferences", "preference", "who = :who", "changed_at < :before"),
    _Kind("digests", "digest", "(target = :who OR who = :who)", "changed_at < :before"),
    _Kind("quotas", "quota_use", "who = :who", "day <= substr(:before, 1, 10)"),
    _Kind(
        "inbox",
        "inbox",
        "who = :who",
        "accepted_at < :before",
        # Whoever has the token may answer in the bot's name.
        "id, kind, payload, note_id, accepted_at, expires_at, done_at",
        # Of one that is done there is no more than its id, by which it is known when it is told again.
        "done_at IS NULL",
    ),
)
_ERASED = {
    # A channel's digest is the guild's, whoever has asked for it.
    "digests": (
        "DELETE FROM digest WHERE target = :who AND {is_old}",
        "UPDATE digest SET who = '' WHERE who = :who AND {is_old}",
    ),
    # The day that is under way goes on: or whoever erases themselves might do everything as often again.
    "quotas": ("DELETE FROM quota_use WHERE who = :who AND day < :today",),
    # The id stays, by which the same event is known when it is told twice, and nothing else.
    "inbox": (
        "UPDATE inbox SET kind = '', who = '', payload = '{{}}', token = '', note_id = '', "
        "done_at = coalesce(done_at, accepted_at) WHERE who = :who AND {is_old}",
    ),
}
_LEDGER = "ledger_calls"


def counts(connection: apsw.Connection, who: str) -> dict[str, int]:
    """How much there is of each kind."""
    bound = {"who": who}
    found = {
        "notes": f"SELECT count(*) FROM note WHERE {_IS_THEIRS} AND trashed_at IS NULL",
        "trashed": f"SELECT count(*) FROM note WHERE {_IS_THEIRS} AND trashed_at IS NOT NULL",
        "revisions": f"SELECT count(*) FROM note_revision WHERE {_REVISED}",
        "attachments": f"SELECT count(*) FROM attachment JOIN note ON note.key = attachment.note WHERE {_IS_THEIRS}",
        **{kind.name: f"SELECT count(*) FROM {kind.table} WHERE {kind.theirs} AND {kind.counted}" for kind in _KINDS},
        _LEDGER: "SELECT count(*) FROM ledger WHERE who = :who",
    }
    return {name: int(connection.execute(query, bound).get) for name, query in found.items()}


_REVISED = (
    "(note_revision.author = :who OR note_revision.space = :who "
    f"OR note_id IN (SELECT id FROM note WHERE {_IS_THEIRS}))"
)


def note_ids(connection: apsw.Connection, who: str, before: str = "") -> list[str]:
    """Their notes, in the trash or not; with `before` those that were accepted before that moment."""
    return [note_id for note_id, accepted in _accepted_notes(connection, who) if not before or accepted < before]


def _accepted_notes(connection: apsw.Connection, who: str) -> list[tuple[str, str]]:
    """(id, when it was accepted): by its id, for when it was created its text may claim."""
    rows = connection.execute(f"SELECT id, created_at FROM note WHERE {_IS_THEIRS} ORDER BY key", {"who": who})
    return [
        (str(note_id), utc_text(made) if (made := made_at(str(note_id))) else str(created)) for note_id, created in rows
    ]


def merged_elsewhere(connection: apsw.Connection, who: str) -> int:
    """How many living notes of others notes of theirs were merged into: what they said then is a part of those."""
    query = f"""
        WITH RECURSIVE host (id) AS (
            SELECT merged_into FROM note_revision WHERE merge <> '' AND merged_into <> note_id AND {_REVISED}
            UNION SELECT merged_into FROM note_revision JOIN host ON note_id = host.id
            WHERE merge <> '' AND merged_into <> note_id
        )
        SELECT count(*) FROM note WHERE id IN host AND trashed_at IS NULL AND NOT ({_IS_THEIRS})
    """
    return int(connection.execute(query, {"who": who}).get)


def has_vectors(connection: apsw.Connection, note_ids: Sequence[str]) -> bool:
    """Whether an index may have a vector of one of those notes."""
    query = (
        "SELECT EXISTS (SELECT 1 FROM note JOIN chunk ON chunk.note = note.key CROSS JOIN model CROSS JOIN embedding "
        "ON embedding.model = model.id AND embedding.text_hash = chunk.text_hash "
        "WHERE note.id IN (SELECT value FROM json_each(?)))"
    )
    return bool(connection.execute(query, (json.dumps(list(note_ids)),)).get)


def erase_rows(connection: apsw.Connection, who: str, before: str = "", *, today: str = "") -> dict[str, int]:
    """Erase what is not notes, nor in the inbox; how much of each kind. Their calls and spending stay, nobody's, and so
    does how often they did what on the day `today` and later (`2026-11-28`; unset: the day of `before`)."""
    known = _tables(connection)
    if "query_vector" in known:
        _erase_query_vectors(connection, known, who, before)
    done = {}
    for kind in _KINDS:
        if kind.table in known and kind.name != "inbox":
            if kind.name == "questions" and "conversation" not in known:
                kind = replace(kind, theirs=_ASKED_ALONE)
            done[kind.name] = _erase_kind(connection, kind, who, before, today)
    for table in ("ledger", "budget_override"):
        if table in known:
            query = f"UPDATE {table} SET who = ? WHERE who = ? AND at < ?"
            connection.execute(query, (NOBODY, who, before or "~"))
            if table == "ledger":
                done[_LEDGER] = connection.changes()
    return done


def _erase_query_vectors(connection: apsw.Connection, known: set[str], who: str, before: str) -> None:
    """Whose query a vector is of cannot be told from its hash: all go that were of use since the first day on which
    there is a trace of them. Each costs but one short call to have again."""
    traces = {
        "search_event": "SELECT min(at) FROM search_event WHERE who = :who",
        "conversation": "SELECT min(at) FROM conversation WHERE who = :who",
        "question": f"SELECT min(at) FROM question WHERE {_ASKED_ALONE}",
        "review_event": "SELECT min(at) FROM review_event WHERE who = :who",
        "preference": "SELECT min(changed_at) FROM preference WHERE who = :who",
        "digest": "SELECT min(changed_at) FROM digest WHERE target = :who OR who = :who",
        # Days of the zone of the settings, of which the rest are in UTC.
        "quota_use": "SELECT date(min(day), '-1 day') FROM quota_use WHERE who = :who",
        "ledger": "SELECT min(at) FROM ledger WHERE who = :who",
    }
    query = " UNION ALL ".join(trace for table, trace in traces.items() if table in known)
    seen = [str(at) for (at,) in connection.execute(query, {"who": who}) if at] if query else []
    seen += [accepted for _, accepted in _accepted_notes(connection, who)]
    if seen:
        # Of vectors, too, only the day is kept on which they were of use again; a conversation is later than its query.
        connection.execute(
            f"DELETE FROM query_vector WHERE substr(used_at, 1, 10) >= date(?, '-{_MOMENTS} seconds') AND used_at < ?",
            (min(seen), before or "~"),
        )


def forget_past_days(connection: apsw.Connection, people: Iterable[str], today: str) -> None:
    """Of people who were erased, forget how often they did what on days that are over meanwhile."""
    rows = ((who, today) for who in people)
    connection.executemany("DELETE FROM quota_use WHERE who = ? AND day < ?", rows)


def erase_inbox(connection: apsw.Connection, who: str, before: str = "") -> int:
    """Forget what they asked for, and how much of it was not done yet. The last step: until then a bot that starts
    again goes on with the erasure."""
    if "inbox" not in _tables(connection):
        return 0
    (inbox,) = (kind for kind in _KINDS if kind.name == "inbox")
    query = f"SELECT count(*) FROM inbox WHERE {inbox.theirs} AND {inbox.counted}"
    if before:
        query += f" AND {inbox.is_old}"
    count: int = connection.execute(query, {"who": who, "before": before}).get
    _erase_kind(connection, inbox, who, before)
    return count


def erase_quotes(connection: apsw.Connection, note_ids: Iterable[str]) -> int:
    """Erase whosesoever answers that quote those notes, and when anybody is to see them again; how many answers. A
    database of former days has neither."""
    if "conversation" not in _tables(connection):
        return 0
    ids = list(note_ids)
    cards_sql.forget(connection, ids)
    return conversations_sql.forget_citing(connection, ids)


def erase_notes(connection: apsw.Connection, note_ids: Sequence[str]) -> dict[str, int]:
    """Erase notes with all that hangs on them; how many notes, trashed ones, revisions and attachments it were."""
    bound = (json.dumps(list(note_ids)),)
    known = _tables(connection)
    is_one = "IN (SELECT value FROM json_each(?))"
    trashed = connection.execute(f"SELECT count(*) FROM note WHERE trashed_at IS NOT NULL AND id {is_one}", bound).get
    attachments = 0
    if "attachment" in known:
        query = f"SELECT count(*) FROM attachment WHERE note IN (SELECT key FROM note WHERE id {is_one})"
        attachments = connection.execute(query, bound).get
    erased = sum(notes_sql.erase(connection, note_id) for note_id in note_ids)
    before = connection.total_changes()
    revisions_sql.forget(connection, note_ids)
    return {
        "notes": erased - trashed,
        "trashed": trashed,
        "revisions": connection.total_changes() - before,
        "attachments": attachments,
    }


def erase_revisions(connection: apsw.Connection, who: str, before: str = "") -> int:
    """Erase what notes of theirs said that are gone since long; how many."""
    if "note_revision" not in _tables(connection):
        return 0
    connection.execute(
        "DELETE FROM note_revision WHERE (author = ?1 OR space = ?1) AND replaced_at < ?2", (who, before or "~")
    )
    return connection.changes()


def drop_unused_vectors(connection: apsw.Connection) -> int:
    """Delete every vector, and every refusal, of a text that no note has now: among them are those of notes in the
    trash and of what notes said before, which cannot be told apart. How many vectors."""
    unused = "NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.text_hash = {0}.text_hash)".format
    connection.execute(f"DELETE FROM embed_failure WHERE {unused('embed_failure')}")
    connection.execute(f"DELETE FROM embedding WHERE {unused('embedding')}")
    return connection.changes()


def erase_again(connection: apsw.Connection, who: str, before: str) -> int:
    """What an erasure did, in a database from before it (of whatever version); how many notes went."""
    ids = note_ids(connection, who, before)
    erase_rows(connection, who, before)  # first: a question is known by the conversation that quotes
    erase_quotes(connection, ids)
    erase_notes(connection, ids)
    erase_revisions(connection, who, before)
    erase_inbox(connection, who, before)
    return len(ids)


def rows_of(connection: apsw.Connection, who: str) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """(kind, rows as mappings) of everything that is not notes, for an export."""
    ledger = _Kind(_LEDGER, "ledger", "who = :who", "")
    for kind in (*_KINDS, ledger):
        cursor = connection.cursor()
        cursor.execute(f"SELECT {kind.columns} FROM {kind.table} WHERE {kind.theirs}", {"who": who})
        rows: list[dict[str, object]] = []
        for row in cursor:
            rows.append(dict(zip((name for name, _ in cursor.get_description()), row, strict=True)))
        yield kind.name, rows


def revisions_of(connection: apsw.Connection, who: str) -> Iterator[tuple[str, str, str, str]]:
    """(note id, replaced at, title, body) of what their notes said before, the oldest first."""
    yield from connection.execute(
        f"SELECT note_id, replaced_at, title, body FROM note_revision WHERE {_REVISED} ORDER BY id", {"who": who}
    )


def attachments_of(connection: apsw.Connection, who: str) -> list[tuple[str, int, str, int]]:
    """(note id, ordinal, name, size) of the attachments of their notes whose bytes are stored."""
    rows = connection.execute(
        "SELECT note.id, ordinal, name, attachment.size FROM attachment JOIN note ON note.key = attachment.note "
        f"WHERE {_IS_THEIRS} AND sha256 IS NOT NULL ORDER BY note.key, ordinal",
        {"who": who},
    )
    return [(str(note), int(ordinal), str(name), int(size)) for note, ordinal, name, size in rows]


def attached(connection: apsw.Connection, note_id: str, ordinal: int) -> bytes:
    """The bytes of one of them; b"" where they went meanwhile."""
    content = connection.execute(
        "SELECT content FROM attachment JOIN note ON note.key = attachment.note JOIN blob USING (sha256) "
        "WHERE note.id = ? AND ordinal = ?",
        (note_id, ordinal),
    ).get
    return bytes(content or b"")


def origin_of(connection: apsw.Connection, note_id: str) -> str:
    """Where a note was said ("": nowhere)."""
    return str(connection.execute("SELECT origin FROM note WHERE id = ?", (note_id,)).get or "")


def _erase_kind(connection: apsw.Connection, kind: _Kind, who: str, before: str, today: str = "") -> int:
    bound = {"who": who, "before": before, "today": today or before[:10] or "~"}
    is_old = kind.is_old if before else "true"
    done = 0
    for statement in _ERASED.get(kind.name, (f"DELETE FROM {kind.table} WHERE {kind.theirs} AND {{is_old}}",)):
        connection.execute(statement.format(is_old=is_old), bound)
        done += connection.changes()
    return done


def _tables(connection: apsw.Connection) -> set[str]:
    """A snapshot of an older version lacks some."""
    return {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
