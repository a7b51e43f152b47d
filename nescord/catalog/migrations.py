"""The schema as numbered, append-only migrations under `user_version`.

A migration that was released is never edited: a database of last year must arrive at the same schema as a new one.
Each runs in one transaction together with its new `user_version`, so an interrupted one leaves no trace.
"""

from __future__ import annotations

# Bodies live in a table of their own: the fingerprints of 8,000 notes are read on every ingest, and rows that carry
# their text would drag 28 MB through the page cache for it.
_NOTES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE source (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('folder', 'obsidian', 'capture')),
    root TEXT NOT NULL,
    space TEXT NOT NULL,
    shape TEXT NOT NULL DEFAULT '',
    ignore_hash BLOB NOT NULL DEFAULT x'',
    ingested_at TEXT NOT NULL DEFAULT '',
    removed_at TEXT
);

CREATE TABLE note (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    source INTEGER NOT NULL REFERENCES source (id),
    path TEXT NOT NULL,
    raw_path BLOB,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    content_hash BLOB NOT NULL,
    title TEXT NOT NULL,
    lang TEXT NOT NULL,
    author TEXT NOT NULL,
    space TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('fleeting', 'permanent', 'link')),
    owner TEXT NOT NULL CHECK (owner IN ('source', 'us')),
    origin TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    trashed_at TEXT
);
CREATE UNIQUE INDEX note_by_path ON note (source, path) WHERE trashed_at IS NULL;
CREATE INDEX note_trashed ON note (source, path) WHERE trashed_at IS NOT NULL;

CREATE TABLE note_text (
    note INTEGER PRIMARY KEY REFERENCES note (key) ON DELETE CASCADE,
    body TEXT NOT NULL,
    body_offset INTEGER NOT NULL,
    front_matter TEXT NOT NULL,
    aliases TEXT NOT NULL
);

CREATE TABLE tag (
    note INTEGER NOT NULL REFERENCES note (key) ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY (note, name)
) WITHOUT ROWID;
CREATE INDEX tag_by_name ON tag (name);

CREATE TABLE link (
    note INTEGER NOT NULL REFERENCES note (key) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('wiki', 'markdown', 'embed')),
    target TEXT NOT NULL,
    anchor TEXT NOT NULL,
    text TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (note, ordinal)
) WITHOUT ROWID;
CREATE INDEX link_by_name ON link (name);

-- Every name a link may use for a note: its path, each tail of it, its aliases. A link is resolved by joining these
-- when it is read, so it is right the moment its target appears, moves or goes.
CREATE TABLE note_name (
    name TEXT NOT NULL,
    note INTEGER NOT NULL REFERENCES note (key) ON DELETE CASCADE,
    PRIMARY KEY (name, note)
) WITHOUT ROWID;
CREATE INDEX note_name_by_note ON note_name (note);

CREATE TABLE chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    note INTEGER NOT NULL REFERENCES note (key) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    headings TEXT NOT NULL,
    text TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL
);
CREATE INDEX chunk_by_note ON chunk (note, ordinal);
-- Whose chunk is it? Asked for every match of a search; the rows themselves are spread over their texts.
CREATE INDEX note_of_chunk ON chunk (id, note);

CREATE TABLE failure (
    source INTEGER NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    reason TEXT NOT NULL,
    stored INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen TEXT NOT NULL,
    PRIMARY KEY (source, path)
) WITHOUT ROWID;
"""

# What Chroma has not been told yet, and what it may be told. A log row says "look at this chunk again": whether it is
# added to a collection or deleted follows from what is stored when the row is applied, so replaying does no harm.
_VECTORS = """
ALTER TABLE chunk ADD COLUMN language_group TEXT NOT NULL DEFAULT 'other' CHECK (language_group IN ('ja', 'other'));
UPDATE chunk SET language_group = 'ja' WHERE note IN (SELECT key FROM note WHERE lang = 'ja');

CREATE TABLE model (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, embedded_through INTEGER NOT NULL DEFAULT 0);

-- float32, little-endian. Equal text is embedded once, ever; a model that was used before is free to come back to.
CREATE TABLE embedding (
    id INTEGER PRIMARY KEY,
    model INTEGER NOT NULL REFERENCES model (id),
    text_hash BLOB NOT NULL,
    vector BLOB NOT NULL
);
CREATE UNIQUE INDEX embedding_by_text ON embedding (model, text_hash);
CREATE INDEX chunk_by_text ON chunk (text_hash);

CREATE TABLE embed_failure (
    model INTEGER NOT NULL REFERENCES model (id),
    text_hash BLOB NOT NULL,
    reason TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (model, text_hash)
) WITHOUT ROWID;

CREATE TABLE index_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    op TEXT NOT NULL CHECK (op IN ('add', 'delete')),
    chunk INTEGER NOT NULL,
    language_group TEXT NOT NULL
);

CREATE TABLE collection (
    name TEXT PRIMARY KEY,
    model INTEGER NOT NULL REFERENCES model (id),
    language_group TEXT NOT NULL,
    epoch TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('building', 'live', 'old')),
    applied_seq INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO meta VALUES ('epoch', lower(hex(randomblob(16))));
"""

# Since when no chunk has used a vector, as far as maintenance has seen it.
_UNUSED = """
CREATE TABLE unused_embedding (
    embedding INTEGER PRIMARY KEY REFERENCES embedding (id) ON DELETE CASCADE,
    since TEXT NOT NULL
);
"""

# What calls to models elsewhere cost. A row of the ledger is there before its call; `tokens` is what counts: the
# estimate, until the call is settled. `day` is the day in the zone of the settings at that time, and its month the one
# that pays. Ids are unique among all lives of a knowledge base, so that a restore can unite the rows of two.
_SPENDING = """
CREATE TABLE ledger (
    id TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    purpose TEXT NOT NULL,
    who TEXT NOT NULL,
    estimate INTEGER NOT NULL CHECK (estimate >= 0),
    tokens INTEGER NOT NULL CHECK (tokens >= 0),
    settled_at TEXT
) WITHOUT ROWID;
CREATE INDEX ledger_by_day ON ledger (day, settled_at, tokens);

CREATE TABLE budget_override (
    id TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    tokens INTEGER NOT NULL CHECK (tokens >= 0),
    until TEXT NOT NULL
) WITHOUT ROWID;

-- The vectors of queries that were asked lately: each search would be a call.
CREATE TABLE query_vector (
    model INTEGER NOT NULL REFERENCES model (id),
    text_hash BLOB NOT NULL,
    vector BLOB NOT NULL,
    used_at TEXT NOT NULL,
    PRIMARY KEY (model, text_hash)
);
CREATE INDEX query_vector_by_use ON query_vector (used_at);

-- Questions, and whether the notes had an answer. `spaces` is a JSON list of where was asked; null: everywhere.
CREATE TABLE question (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    spaces TEXT,
    text TEXT NOT NULL,
    mode TEXT NOT NULL,
    is_answered INTEGER NOT NULL CHECK (is_answered IN (0, 1))
);
"""

# What notes of ours said before they were changed through us. A row outlives the trash: it goes when its note is
# erased, or the one that it went into. `merge` is common to all that one merge has replaced ("": the note was edited).
_REVISIONS = """
CREATE TABLE note_revision (
    id INTEGER PRIMARY KEY,
    merge TEXT NOT NULL,
    merged_into TEXT NOT NULL,
    replaced_at TEXT NOT NULL,
    note_id TEXT NOT NULL,
    path TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    front_matter TEXT NOT NULL,
    aliases TEXT NOT NULL,
    tags TEXT NOT NULL,
    names TEXT NOT NULL,
    lang TEXT NOT NULL,
    author TEXT NOT NULL,
    space TEXT NOT NULL,
    kind TEXT NOT NULL,
    origin TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX note_revision_of ON note_revision (note_id);
CREATE INDEX note_revision_in ON note_revision (merged_into);
"""

# From when on a text is asked for again; null: it is refused for good.
_RETRIES = "ALTER TABLE embed_failure ADD COLUMN retry_at TEXT;"

# What people do through Discord. `who` is `user:<id>`, or `guild:<id>` where something is of a guild as a whole.
_DISCORD = """
-- Interactions that were accepted: they are here before Discord hears so. Of what is done only the id is kept, by which
-- the same event, told twice, is known; `note_id` is that of the note which it makes, if it makes one.
CREATE TABLE inbox (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    who TEXT NOT NULL,
    payload TEXT NOT NULL,
    token TEXT NOT NULL,
    note_id TEXT NOT NULL,
    accepted_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    done_at TEXT
) WITHOUT ROWID;
CREATE INDEX inbox_open ON inbox (accepted_at) WHERE done_at IS NULL;

CREATE TABLE preference (
    who TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    PRIMARY KEY (who, name)
) WITHOUT ROWID;

-- How often something was done on a day in the zone of the settings.
CREATE TABLE quota_use (
    who TEXT NOT NULL,
    day TEXT NOT NULL,
    what TEXT NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (who, day, what)
) WITHOUT ROWID;

-- A question with its answer, for the buttons below it; `previous` is the one that it follows up. `citations` is JSON.
CREATE TABLE conversation (
    id TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    spaces TEXT NOT NULL,
    is_shared INTEGER NOT NULL CHECK (is_shared IN (0, 1)),
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    citations TEXT NOT NULL,
    previous TEXT NOT NULL,
    is_useful INTEGER CHECK (is_useful IN (0, 1))
) WITHOUT ROWID;
CREATE INDEX conversation_by_time ON conversation (at);

CREATE TABLE search_event (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    spaces TEXT,
    query TEXT NOT NULL,
    mode TEXT NOT NULL,
    hits INTEGER NOT NULL,
    milliseconds REAL NOT NULL,
    degraded TEXT NOT NULL
);
CREATE INDEX search_event_by_time ON search_event (at);

-- When a person should see a note again. `card` is the JSON of the scheduler (FSRS).
CREATE TABLE review_card (
    who TEXT NOT NULL,
    note_id TEXT NOT NULL,
    card TEXT NOT NULL,
    due TEXT NOT NULL,
    PRIMARY KEY (who, note_id)
) WITHOUT ROWID;
CREATE INDEX review_card_by_due ON review_card (who, due);
CREATE TABLE review_event (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    note_id TEXT NOT NULL,
    rating INTEGER NOT NULL CHECK (rating BETWEEN 1 AND 4)
);

-- Who gets a digest, and that of which day was sent last. `target` is `user:<id>` or `channel:<id>`, `guild` that of
-- the channel; `state` is what became of the digest of `day`: one that was begun may have arrived.
CREATE TABLE digest (
    target TEXT PRIMARY KEY,
    guild TEXT NOT NULL,
    who TEXT NOT NULL,
    language TEXT NOT NULL,
    hour INTEGER NOT NULL CHECK (hour BETWEEN 0 AND 23),
    timezone TEXT NOT NULL,
    day TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('', 'begun', 'sent', 'failed')),
    changed_at TEXT NOT NULL
) WITHOUT ROWID;

-- Attachments lie in the database, so that transactions and backups cover them. `sha256` is null where the bytes are
-- not stored, and `reason` says why. `came_with` are the notes whose merges have brought it, the last one first.
CREATE TABLE blob (sha256 BLOB PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE attachment (
    note INTEGER NOT NULL REFERENCES note (key) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB REFERENCES blob (sha256),
    reason TEXT NOT NULL,
    came_with TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (note, ordinal)
) WITHOUT ROWID;
CREATE INDEX attachment_by_blob ON attachment (sha256);

CREATE INDEX note_by_origin ON note (origin) WHERE origin <> '';
CREATE INDEX note_by_author ON note (author) WHERE owner = 'us';
-- For choosing a note while somebody types: what is asked of all of them then, without their rows.
CREATE INDEX note_recent ON note (updated_at, space, owner) WHERE trashed_at IS NULL;
CREATE INDEX note_title ON note (key, space, owner, title) WHERE trashed_at IS NULL;
"""

# Notes of ours that are files of a vault in git, too. `path` is the file's, kept for its note as long as there is one.
_WRITEBACK = """
-- `blob` (git's id of the content) and `content_hash` are of the file on which both sides agreed last, `note_hash` of
-- what the note said then, and `seen` its updated_at ('' while it may still change within that second). A row refers to
-- no note: it outlives one that is erased until its file is removed, too.
CREATE TABLE writeback (
    note_id TEXT PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES source (id),
    path TEXT NOT NULL,
    raw_path BLOB,
    state TEXT NOT NULL CHECK (state IN ('new', 'there', 'gone')),
    blob TEXT NOT NULL,
    content_hash BLOB NOT NULL,
    note_hash BLOB NOT NULL,
    seen TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX writeback_by_path ON writeback (source, path);

-- Files that were pushed, or were about to be, and are not known to have arrived.
CREATE TABLE writeback_push (
    note_id TEXT NOT NULL REFERENCES writeback (note_id) ON DELETE CASCADE,
    blob TEXT NOT NULL, content_hash BLOB NOT NULL, note_hash BLOB NOT NULL,
    PRIMARY KEY (note_id, blob)
) WITHOUT ROWID;

-- The name of a file tells what its note was about: it goes with the note when there is no file to be removed.
CREATE TRIGGER writeback_of_erased AFTER DELETE ON note BEGIN
    DELETE FROM writeback WHERE note_id = old.id AND state <> 'there'
    AND NOT EXISTS (SELECT 1 FROM writeback_push WHERE writeback_push.note_id = old.id);
END;
"""

MIGRATIONS: tuple[str, ...] = (_NOTES, _VECTORS, _UNUSED, _SPENDING, _REVISIONS, _RETRIES, _DISCORD, _WRITEBACK)
SCHEMA_VERSION = len(MIGRATIONS)

# "NSCD": lets `file` and a restore tell our database from any other.
APPLICATION_ID = 0x4E534344
PAGE_SIZE = 8192
