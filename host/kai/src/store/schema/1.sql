-- Format 1. A later format is a new file; `PRAGMA user_version` says which one a store has.

CREATE TABLE sources (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    base_url    TEXT NOT NULL,
    email       TEXT NOT NULL,
    scope       TEXT,
    -- Full crawls that ended.
    full_crawls INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row without an end a source at most: the run that the next one takes up.
CREATE TABLE runs (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    source_id TEXT NOT NULL REFERENCES sources (id),
    mode      TEXT NOT NULL CHECK (mode IN ('full', 'delta')),
    begun_at  TEXT NOT NULL,
    ended_at  TEXT
) STRICT;

CREATE TABLE spaces (
    source_id    TEXT NOT NULL REFERENCES sources (id),
    partition_id TEXT NOT NULL,
    key          TEXT NOT NULL,
    delta_token  TEXT,
    -- Where the listing of `listing_run` stopped, and what it was begun with.
    cursor       TEXT,
    cursor_since TEXT,
    listing_run  INTEGER,
    ended_run    INTEGER,
    PRIMARY KEY (source_id, partition_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    source_id      TEXT NOT NULL REFERENCES sources (id),
    id             TEXT NOT NULL,
    title          TEXT NOT NULL,
    mime_type      TEXT NOT NULL,
    modified_at    TEXT NOT NULL,
    web_url        TEXT NOT NULL,
    space_key      TEXT NOT NULL,
    version_number INTEGER NOT NULL,
    created_at     TEXT,
    created_by     TEXT,
    -- The last run that met the page.
    seen_run       INTEGER NOT NULL,
    content        TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX documents_by_id ON documents (source_id, id);

CREATE TABLE failures (
    source_id TEXT NOT NULL REFERENCES sources (id),
    id        TEXT NOT NULL,
    title     TEXT,
    cause     TEXT NOT NULL,
    attempts  INTEGER NOT NULL DEFAULT 1,
    last_run  INTEGER NOT NULL,
    PRIMARY KEY (source_id, id)
) STRICT, WITHOUT ROWID;
