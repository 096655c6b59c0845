-- Format 4: what the service needs: tenants and their keys, schedules, and the runs that it made.

CREATE TABLE tenants (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
-- Has what was there before, and what the command line registers.
INSERT INTO tenants VALUES ('default', 'Default', strftime('%Y-%m-%dT%H:%M:%SZ', 'now'));

ALTER TABLE sources ADD COLUMN tenant_id TEXT NOT NULL DEFAULT 'default';
-- Seconds; none: runs begin when somebody asks for them.
ALTER TABLE sources ADD COLUMN run_every INTEGER;
ALTER TABLE sources ADD COLUMN full_every INTEGER;
-- RFC 3339, UTC. However many runs were missed, the next one is one.
ALTER TABLE sources ADD COLUMN next_run_at TEXT;
CREATE INDEX sources_by_tenant ON sources (tenant_id);

-- The source of a removal may be gone itself.
ALTER TABLE removals ADD COLUMN tenant_id TEXT NOT NULL DEFAULT 'default';
CREATE INDEX removals_by_tenant ON removals (tenant_id, change);

CREATE TABLE keys (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    -- None: a key of the administration.
    tenant_id  TEXT REFERENCES tenants (id),
    -- SHA-256 of the key, which is random and long: nothing slower is needed.
    digest     BLOB NOT NULL UNIQUE,
    created_at TEXT NOT NULL
) STRICT;

-- What the service did, one row an attempt. `runs` is what an attempt takes up where the one before stopped.
CREATE TABLE service_runs (
    -- Order only: it would tell one tenant what others do.
    number           INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT NOT NULL UNIQUE,
    source_id        TEXT NOT NULL REFERENCES sources (id),
    mode             TEXT NOT NULL CHECK (mode IN ('full', 'delta')),
    confirm_removals INTEGER NOT NULL,
    state            TEXT NOT NULL
        CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled', 'interrupted')),
    queued_at        TEXT NOT NULL,
    started_at       TEXT,
    ended_at         TEXT,
    -- JSON, in the shape of `kai sync --json`.
    summary          TEXT,
    -- JSON: `kind` and `detail` of what kept it from its end.
    problem          TEXT,
    -- Of the source, at the end of the run.
    documents        INTEGER
) STRICT;
CREATE INDEX service_runs_by_source ON service_runs (source_id, number);
CREATE INDEX service_runs_unended ON service_runs (number) WHERE ended_at IS NULL;

-- Binds cursors to the tenant that they were given to.
CREATE TABLE service_secrets (secret BLOB NOT NULL) STRICT;

-- Which change of a document is in the index of words of its tenant: its row there has that number.
CREATE TABLE search_entries (
    change    INTEGER PRIMARY KEY,
    source_id TEXT NOT NULL,
    id        TEXT NOT NULL,
    tenant_id TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX search_entries_by_id ON search_entries (source_id, id);
-- One row: the change up to which the indexes of words are built.
CREATE TABLE search_position (change INTEGER NOT NULL) STRICT;
INSERT INTO search_position VALUES (0);
