//! Documents as the service lists them: the newest first, page by page, and never those of a source that was not asked
//! for.
//!
//! Each source is looked at by itself, by an index, and what was found is merged: however many documents others have,
//! what a tenant asks for takes as long as its own do.

use rusqlite::{OptionalExtension as _, ToSql, params};

use super::content::Unpacker;
use super::sqlite::{DOCUMENT_COLUMNS, compression, stored_document};
use super::{SqliteStore, StoreError, StoredDocument};

/// Which documents to list.
#[derive(Debug, Clone, Default)]
pub struct DocumentQuery {
    /// Of these sources.
    pub sources: Vec<String>,
    /// Of this space.
    pub space_key: Option<String>,
    /// Modified later than this: RFC 3339, UTC, with milliseconds, as Confluence writes it.
    pub modified_after: Option<String>,
}

/// Where a list of documents stopped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentPlace {
    /// Of the last document that was seen; likewise below.
    pub modified_at: String,
    /// Its id.
    pub id: String,
    /// Its source.
    pub source_id: String,
}

/// A document without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDocument {
    /// All but the content, which is empty.
    pub document: StoredDocument,
    /// The number of its last change: another one after each.
    pub change: u64,
}

const LISTED_COLUMNS: &str = "source_id, id, title, mime_type, modified_at, web_url, space_key, version_number, created_at, created_by, change";

impl SqliteStore {
    /// Makes what the lists of the service are read by.
    ///
    /// # Errors
    /// See [`StoreError`]; likewise of the methods below.
    pub fn prepare_for_service(&mut self) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch(include_str!("schema/service.sql"))?)
    }

    /// The documents after a place, the newest first.
    pub fn list_documents(
        &self,
        query: &DocumentQuery,
        after: Option<&DocumentPlace>,
        limit: u32,
    ) -> Result<Vec<ListedDocument>, StoreError> {
        let by_space = if query.space_key.is_some() { "space_key = ?2 AND " } else { "?2 IS NULL AND " };
        // One state of the database: a document that changed between two looks would be at another place.
        let snapshot = self.connection.unchecked_transaction()?;
        let mut places = snapshot.prepare_cached(&format!(
            "SELECT modified_at, id, source_id FROM documents
             WHERE source_id = ?1 AND {by_space} modified_at > ?3
               AND (?4 IS NULL OR (modified_at, id, ?1) < (?4, ?5, ?6))
               AND modified_at <= ?7
             ORDER BY modified_at DESC, id DESC LIMIT ?8",
        ))?;
        let newest = query.modified_after.clone().unwrap_or_default();
        // Where the list goes on, the index is entered there.
        let bound = after.map_or_else(|| "\u{10ffff}".to_owned(), |place| place.modified_at.clone());
        let mut found = Vec::new();
        for source_id in &query.sources {
            let rows = places.query_map(
                params![
                    source_id,
                    query.space_key,
                    newest,
                    after.map(|place| &place.modified_at),
                    after.map(|place| &place.id),
                    after.map(|place| &place.source_id),
                    bound,
                    limit,
                ],
                |row| Ok(DocumentPlace { modified_at: row.get(0)?, id: row.get(1)?, source_id: row.get(2)? }),
            )?;
            for place in rows {
                found.push(place?);
            }
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        found.truncate(limit as usize);
        let mut documents = Vec::with_capacity(found.len());
        for place in found {
            documents.extend(self.listed_document(&place.source_id, &place.id)?);
        }
        Ok(documents)
    }

    /// How many documents there are.
    pub fn count_documents(&self, query: &DocumentQuery) -> Result<u64, StoreError> {
        let by_space = if query.space_key.is_some() { "space_key = ?2" } else { "?2 IS NULL" };
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT count(*) FROM documents WHERE source_id = ?1 AND {by_space} AND modified_at > ?3"
        ))?;
        let newest = query.modified_after.clone().unwrap_or_default();
        let mut count = 0;
        for source_id in &query.sources {
            let parameters: [&dyn ToSql; 3] = [source_id, &query.space_key, &newest];
            count += statement.query_row(&parameters[..], |row| row.get::<_, i64>(0))?.unsigned_abs();
        }
        Ok(count)
    }

    /// One document without its content.
    pub fn listed_document(&self, source_id: &str, id: &str) -> Result<Option<ListedDocument>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {LISTED_COLUMNS} FROM documents WHERE source_id = ?1 AND id = ?2"
        ))?;
        let found = statement.query_row([source_id, id], |row| {
            Ok(ListedDocument {
                document: StoredDocument {
                    source_id: row.get(0)?,
                    id: row.get(1)?,
                    title: row.get(2)?,
                    mime_type: row.get(3)?,
                    content: String::new(),
                    modified_at: row.get(4)?,
                    web_url: row.get(5)?,
                    space_key: row.get(6)?,
                    version_number: row.get(7)?,
                    created_at: row.get(8)?,
                    created_by_display_name: row.get(9)?,
                },
                change: row.get::<_, i64>(10)?.unsigned_abs(),
            })
        });
        Ok(found.optional()?)
    }

    /// One document with its content.
    pub fn document(&self, source_id: &str, id: &str) -> Result<Option<StoredDocument>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {DOCUMENT_COLUMNS} FROM documents WHERE source_id = ?1 AND id = ?2"
        ))?;
        let mut rows = statement.query([source_id, id])?;
        let mut unpacker = Unpacker::new().map_err(compression)?;
        rows.next()?.map(|row| stored_document(row, &mut unpacker)).transpose()
    }

    /// The spaces of a source that have documents, by key, with the number of them.
    pub fn spaces_with_documents(&self, source_id: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT space_key, count(*) FROM documents WHERE source_id = ?1 GROUP BY space_key ORDER BY space_key",
        )?;
        let spaces = statement
            .query_map([source_id], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
        Ok(spaces.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::document;
    use crate::store::{SourceRecord, Store as _, Write};
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Ended<'a>(&'a AtomicBool);

    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A page used to end the list, or to go back to its beginning, if its last document changed while it was read.
    #[test]
    fn each_page_is_read_from_one_state_of_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(directory.path()).unwrap();
        store.prepare_for_service().unwrap();
        let record = SourceRecord {
            id: "s".into(),
            kind: "CONFLUENCE".into(),
            base_url: "u".into(),
            email: "e".into(),
            scope: None,
        };
        store.register(&record).unwrap();
        let run = store.begin_run("s", true).unwrap();
        let write = |store: &mut SqliteStore, id: u32, minute: u32| {
            let mut document = document(&format!("{id:03}"), minute + 1, "text");
            document.reference.modified_at =
                format!("2026-01-01T{:02}:{:02}:00.000Z", minute / 60, minute % 60);
            store.write("s", run, &[Write::Document(document)]).unwrap();
        };
        for id in 0..40 {
            write(&mut store, id, id);
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Also where what is read is wrong.
            let _ended = Ended(&over);
            scope.spawn(|| {
                // Every other one moves to the front, or goes and comes back.
                for round in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let id = round % 20 * 2;
                    match round % 3 {
                        0 => _ = store.remove("s", &[format!("{id:03}")]).unwrap(),
                        _ => write(&mut store, id, 60 + round % 1_000),
                    }
                }
            });
            let reader = SqliteStore::open_for_reading(directory.path()).unwrap();
            let query = DocumentQuery { sources: vec!["s".into()], ..DocumentQuery::default() };
            for _ in 0..300 {
                let (mut seen, mut after) = (BTreeMap::new(), None);
                loop {
                    let page = reader.list_documents(&query, after.as_ref(), 3).unwrap();
                    for listed in &page {
                        *seen.entry(listed.document.id.clone()).or_insert(0) += 1;
                    }
                    let Some(last) = page.get(2) else { break };
                    after = Some(DocumentPlace {
                        modified_at: last.document.modified_at.clone(),
                        id: last.document.id.clone(),
                        source_id: last.document.source_id.clone(),
                    });
                }
                for id in (1..40).step_by(2) {
                    assert_eq!(seen.get(&format!("{id:03}")), Some(&1), "{id}");
                }
            }
        });
    }
}
