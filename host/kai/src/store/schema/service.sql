-- What only the service needs of the documents. Made when it first opens a store, so that nobody else pays for it.

CREATE INDEX IF NOT EXISTS documents_by_modification ON documents (source_id, modified_at, id);
CREATE INDEX IF NOT EXISTS documents_by_space ON documents (source_id, space_key, modified_at, id);
CREATE INDEX IF NOT EXISTS documents_by_source_change ON documents (source_id, change);
