-- Format 3: what changed, in the order in which it did, so that others can follow a store without reading it again.

-- One row: the number of the last change. Numbers are given out in the transactions that write, one at a time.
CREATE TABLE changes (last INTEGER NOT NULL) STRICT;

-- The number of the last change of each document. What was there before format 3 changed in some order.
ALTER TABLE documents ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
UPDATE documents SET change = rowid;
CREATE INDEX documents_by_change ON documents (change);
INSERT INTO changes SELECT coalesce(max(change), 0) FROM documents;

-- Runs are looked up by their source, and pruned.
CREATE INDEX runs_by_source ON runs (source_id, mode, ended_at);

-- Documents that are gone, with the number of that change. One that comes back is none of them any more.
CREATE TABLE removals (
    change    INTEGER PRIMARY KEY,
    source_id TEXT NOT NULL,
    id        TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX removals_by_id ON removals (source_id, id);
