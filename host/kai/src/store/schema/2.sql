-- Format 2: what a registered source needs, the names of spaces, and content that is compressed.

-- `scope` says what is read, as before; what it was made of is known of registered sources only.
ALTER TABLE sources ADD COLUMN space_key TEXT;
ALTER TABLE sources ADD COLUMN scope_path TEXT;
ALTER TABLE sources ADD COLUMN cloud_id TEXT;
-- None: the source was synced from a file, which keeps its token.
ALTER TABLE sources ADD COLUMN sealed_token BLOB;
ALTER TABLE sources ADD COLUMN registered_at TEXT;

-- None: not listed since format 1.
ALTER TABLE spaces ADD COLUMN name TEXT;

-- The content as a zstd frame, where that is smaller; `content` is empty then.
ALTER TABLE documents ADD COLUMN content_zstd BLOB;
