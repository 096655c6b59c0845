//! The feed of changes: what was written and removed, in order, for those who follow a store.
//!
//! Each change has a number, given out in the transaction that makes it, so that whoever has seen a number has seen all
//! before it. Of a document that changed again only the last change is kept: the feed is never longer than the store and
//! what was ever removed from it, and whoever follows it from any number on ends up with what the store has.

use rusqlite::{CachedStatement, Transaction, params};

use super::content::Unpacker;
use super::sqlite::{DOCUMENT_COLUMNS, SqliteStore, compression, stored_document};
use super::{StoreError, StoredDocument};

/// Changes that are looked up at once.
const AT_ONCE: u32 = 256;

/// A change of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChange {
    /// Later changes have higher numbers; there may be gaps.
    pub number: u64,
    /// What happened.
    pub what: WhatChanged,
}

/// What happened to a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhatChanged {
    /// It was written, renamed or moved; this is what it is now.
    Written(StoredDocument),
    /// It is gone.
    Removed {
        /// The source that it was of.
        source_id: String,
        /// Page id.
        id: String,
    },
}

impl SqliteStore {
    /// The number of the last change; 0 where there was none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn last_change(&self) -> Result<u64, StoreError> {
        let last = self.connection.query_row("SELECT last FROM changes", [], |row| row.get::<_, i64>(0))?;
        Ok(last.unsigned_abs())
    }

    /// Gives the changes after that number, of one source or of all, to `each` in their order, until it says no.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn changes(
        &self,
        after: u64,
        source_id: Option<&str>,
        mut each: impl FnMut(StoredChange) -> bool,
    ) -> Result<(), StoreError> {
        // What comes while this goes on is left to the next call.
        let last = self.last_change()?;
        let mut numbers = self.connection.prepare_cached(
            "SELECT * FROM (
                 SELECT change, NULL, NULL FROM documents
                 WHERE change > ?1 AND change <= ?2 AND (?3 IS NULL OR source_id = ?3)
                 ORDER BY change LIMIT ?4)
             UNION ALL SELECT * FROM (
                 SELECT change, source_id, id FROM removals
                 WHERE change > ?1 AND change <= ?2 AND (?3 IS NULL OR source_id = ?3)
                 ORDER BY change LIMIT ?4)
             ORDER BY 1 LIMIT ?4",
        )?;
        let mut document = self
            .connection
            .prepare_cached(&format!("SELECT {DOCUMENT_COLUMNS} FROM documents WHERE change = ?1"))?;
        let mut unpacker = Unpacker::new().map_err(compression)?;
        let mut after = signed(after);
        loop {
            let found = numbers.query_map(params![after, signed(last), source_id, AT_ONCE], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?.zip(row.get(2)?)))
            })?;
            let found: Vec<_> = found.collect::<Result<_, _>>()?;
            let Some((newest, _)) = found.last() else { return Ok(()) };
            after = *newest;
            for (number, removed) in found {
                let what = match removed {
                    Some((source_id, id)) => Some(WhatChanged::Removed { source_id, id }),
                    None => read(&mut document, number, &mut unpacker)?.map(WhatChanged::Written),
                };
                // A document that changes right now has a higher number by then.
                let Some(what) = what else { continue };
                if !each(StoredChange { number: number.unsigned_abs(), what }) {
                    return Ok(());
                }
            }
        }
    }

    /// Gives the changes of these sources after that number to `each` in their order, at most so many, until it says no;
    /// with what was removed of sources that the tenant has no longer, where one is named.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn changes_of(
        &self,
        sources: &[String],
        removals_of: Option<&str>,
        after: u64,
        limit: u32,
        mut each: impl FnMut(StoredChange) -> bool,
    ) -> Result<(), StoreError> {
        // One state of the database for all the questions: what is written meanwhile is left to the next call.
        let snapshot = self.connection.unchecked_transaction()?;
        let after = signed(after);
        let mut found: Vec<(i64, Option<(String, String)>)> = Vec::new();
        let mut written = snapshot.prepare_cached(
            "SELECT change FROM documents WHERE source_id = ?1 AND change > ?2 ORDER BY change LIMIT ?3",
        )?;
        for source_id in sources {
            for number in written.query_map(params![source_id, after, limit], |row| row.get(0))? {
                found.push((number?, None));
            }
        }
        let (column, owners) = match removals_of {
            Some(tenant_id) => ("tenant_id", vec![tenant_id]),
            None => ("source_id", sources.iter().map(String::as_str).collect()),
        };
        let mut removed = snapshot.prepare_cached(&format!(
            "SELECT change, source_id, id FROM removals WHERE {column} = ?1 AND change > ?2
             ORDER BY change LIMIT ?3"
        ))?;
        for owner in owners {
            let rows = removed.query_map(params![owner, after, limit], |row| {
                Ok((row.get(0)?, Some((row.get(1)?, row.get(2)?))))
            })?;
            for row in rows {
                found.push(row?);
            }
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        found.truncate(limit as usize);
        let mut document = snapshot
            .prepare_cached(&format!("SELECT {DOCUMENT_COLUMNS} FROM documents WHERE change = ?1"))?;
        let mut unpacker = Unpacker::new().map_err(compression)?;
        for (number, removed) in found {
            let what = match removed {
                Some((source_id, id)) => WhatChanged::Removed { source_id, id },
                None => match read(&mut document, number, &mut unpacker)? {
                    Some(document) => WhatChanged::Written(document),
                    None => continue,
                },
            };
            if !each(StoredChange { number: number.unsigned_abs(), what }) {
                break;
            }
        }
        Ok(())
    }
}

/// The document whose last change has this number.
pub(super) fn read(
    statement: &mut CachedStatement<'_>,
    number: i64,
    unpacker: &mut Unpacker,
) -> Result<Option<StoredDocument>, StoreError> {
    let mut rows = statement.query([number])?;
    rows.next()?.map(|row| stored_document(row, unpacker)).transpose()
}

/// Takes note of a document that was written with the number after the last one.
pub(super) fn note_written(
    transaction: &Transaction<'_>,
    source_id: &str,
    id: &str,
) -> Result<(), StoreError> {
    transaction.prepare_cached("UPDATE changes SET last = last + 1")?.execute([])?;
    // One that was removed is there again.
    transaction
        .prepare_cached("DELETE FROM removals WHERE source_id = ?1 AND id = ?2")?
        .execute(params![source_id, id])?;
    Ok(())
}

/// Takes note of documents that are about to go: one of a source, or all.
pub(super) fn note_removals(
    transaction: &Transaction<'_>,
    source_id: &str,
    id: Option<&str>,
) -> Result<(), StoreError> {
    let removed = transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO removals (change, source_id, id, tenant_id)
             SELECT (SELECT last FROM changes) + row_number() OVER (ORDER BY rowid), source_id, id,
                    (SELECT tenant_id FROM sources WHERE id = ?1)
             FROM documents WHERE source_id = ?1 AND (?2 IS NULL OR id = ?2)",
        )?
        .execute(params![source_id, id])?;
    transaction.prepare_cached("UPDATE changes SET last = last + ?1")?.execute([removed as i64])?;
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::{document, reference};
    use crate::store::{Run, SourceRecord, Store as _, Write};
    use std::collections::BTreeMap;

    struct Scene {
        store: SqliteStore,
        run: Run,
        _directory: tempfile::TempDir,
    }

    fn scene() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(directory.path()).unwrap();
        let source = |id: &str| SourceRecord {
            id: id.into(),
            kind: "CONFLUENCE".into(),
            base_url: "https://a.example".into(),
            email: "e".into(),
            scope: None,
        };
        for id in ["s", "t"] {
            store.register(&source(id)).unwrap();
        }
        let run = store.begin_run("s", false).unwrap();
        Scene { store, run, _directory: directory }
    }

    impl Scene {
        fn write(&mut self, source: &str, id: &str, version: u32) {
            self.store.write(source, self.run, &[Write::Document(document(id, version, "text"))]).unwrap();
        }

        /// The changes after a number in short, and the number of the last.
        fn after(&self, number: u64) -> (Vec<String>, u64) {
            let (mut found, mut last) = (Vec::new(), number);
            self.store
                .changes(number, None, |change| {
                    assert!(change.number > last, "in order, and each once");
                    last = change.number;
                    found.push(match change.what {
                        WhatChanged::Written(document) => {
                            format!("{}{} v{}", document.source_id, document.id, document.version_number)
                        }
                        WhatChanged::Removed { source_id, id } => format!("{source_id}{id} gone"),
                    });
                    true
                })
                .unwrap();
            (found, last)
        }
    }

    #[test]
    fn changes_come_in_their_order_and_each_once() {
        let mut scene = scene();
        assert_eq!(scene.after(0), (vec![], 0));
        scene.write("s", "1", 1);
        scene.write("s", "2", 1);
        scene.write("t", "1", 5);
        let (found, seen) = scene.after(0);
        assert_eq!(found, ["s1 v1", "s2 v1", "t1 v5"]);
        assert_eq!(scene.store.last_change().unwrap(), seen);
        // Met again, and nothing is new.
        scene.write("s", "2", 1);
        scene.store.write("s", scene.run, &[Write::Unchanged(reference("1", 1))]).unwrap();
        assert_eq!(scene.after(seen), (vec![], seen));
        scene.write("s", "1", 2);
        scene.store.remove("s", &["2".into(), "unknown".into()]).unwrap();
        assert_eq!(scene.after(seen).0, ["s1 v2", "s2 gone"]);
        assert_eq!(scene.after(0).0, ["t1 v5", "s1 v2", "s2 gone"], "of each document the last change");
        scene.write("s", "2", 1);
        assert_eq!(scene.after(seen).0, ["s1 v2", "s2 v1"], "it is there again");
    }

    #[test]
    fn a_move_is_a_change_and_so_is_the_removal_of_a_source() {
        let mut scene = scene();
        scene.write("s", "1", 1);
        scene.write("s", "2", 1);
        scene.write("t", "1", 1);
        let seen = scene.after(0).1;
        let mut moved = reference("1", 1);
        moved.metadata.space_key = "OPS".into();
        scene.store.write("s", scene.run, &[Write::Unchanged(moved)]).unwrap();
        assert_eq!(scene.after(seen).0, ["s1 v1"]);
        assert_eq!(scene.store.remove_source("s").unwrap(), Some(2));
        assert_eq!(scene.after(seen).0, ["s1 gone", "s2 gone"]);
        assert_eq!(scene.after(0).0, ["t1 v1", "s1 gone", "s2 gone"]);
    }

    #[test]
    fn one_source_can_be_followed_and_a_follower_may_stop() {
        let mut scene = scene();
        for number in 1..=700 {
            scene.write("s", &number.to_string(), 1);
            scene.write("t", &number.to_string(), 1);
        }
        let mut count = 0;
        scene
            .store
            .changes(0, Some("t"), |change| {
                let WhatChanged::Written(document) = change.what else { panic!("{change:?}") };
                assert_eq!(document.source_id, "t");
                count += 1;
                count < 600
            })
            .unwrap();
        assert_eq!(count, 600);
    }

    /// Whoever stops anywhere and goes on there later ends up with what the store has.
    #[test]
    fn a_follower_that_stops_anywhere_ends_up_with_the_same_documents() {
        let mut scene = scene();
        let mut copy = BTreeMap::new();
        let mut seen = 0;
        for step in 0_u32..2_000 {
            let id = (step * 7919 % 41).to_string();
            match step * 31 % 5 {
                0 => {
                    scene.store.remove("s", &[id]).unwrap();
                }
                _ => scene.write("s", &id, step + 1),
            }
            if step % 13 == 0 {
                let mut left = step % 7;
                scene
                    .store
                    .changes(seen, None, |change| {
                        seen = change.number;
                        match change.what {
                            WhatChanged::Written(document) => {
                                copy.insert(document.id, document.version_number)
                            }
                            WhatChanged::Removed { id, .. } => copy.remove(&id),
                        };
                        left = left.saturating_sub(1);
                        left > 0
                    })
                    .unwrap();
            }
        }
        let take = |change: StoredChange| {
            match change.what {
                WhatChanged::Written(document) => copy.insert(document.id, document.version_number),
                WhatChanged::Removed { id, .. } => copy.remove(&id),
            };
            true
        };
        scene.store.changes(seen, None, take).unwrap();
        let mut stored = BTreeMap::new();
        scene
            .store
            .documents(&crate::store::Filter::default(), |document| {
                stored.insert(document.id, document.version_number);
                true
            })
            .unwrap();
        assert_eq!(copy, stored);
        assert!(!stored.is_empty());
    }
}
