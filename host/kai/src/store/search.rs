//! The indexes of words: one a tenant, so that what one has is neither found nor ranked nor waited for by another.
//!
//! They are built from the feed of changes, beside the syncs and not in them. The row of a document has the number of
//! its last change: higher rows are newer, and a row whose document has changed since leads to nothing.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::content::Unpacker;
use super::sqlite::{DOCUMENT_COLUMNS, compression};
use super::{DocumentQuery, ListedDocument, SqliteStore, StoreError, changes};

/// Matches that are ranked: the newest ones. More, nobody reads.
const RANKED: u32 = 1_000;

/// Words of a query that are looked at.
const MOST_WORDS: usize = 16;

/// What to look for.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    /// Whose documents.
    pub tenant_id: String,
    /// Words, the last of which may be a beginning, and phrases in double quotes: all of them have to be there.
    pub text: String,
    /// Which of the documents; its sources are the tenant's.
    pub documents: DocumentQuery,
}

/// A table of its own for each tenant; [`is_tenant_id`](super::is_tenant_id) keeps the name what it is.
fn table(tenant_id: &str) -> String {
    format!("\"search of {}\"", tenant_id.replace('"', ""))
}

fn exists(connection: &Connection, tenant_id: &str) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")?;
    let found = statement.query_row([table(tenant_id).trim_matches('"')], |_| Ok(())).optional()?;
    Ok(found.is_some())
}

fn make(transaction: &Transaction<'_>, tenant_id: &str) -> rusqlite::Result<()> {
    transaction.execute_batch(&format!(
        "CREATE VIRTUAL TABLE {} USING fts5(title, body, content = '', contentless_delete = 1,
             tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3')",
        table(tenant_id)
    ))
}

/// Drops what was indexed of a tenant.
pub(super) fn forget_tenant(transaction: &Transaction<'_>, tenant_id: &str) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM search_entries WHERE tenant_id = ?1", [tenant_id])?;
    transaction.execute_batch(&format!("DROP TABLE IF EXISTS {}", table(tenant_id)))
}

/// The query in the language of FTS5; none where there is no word in it.
fn expression(text: &str) -> Option<String> {
    // FTS5 takes NUL for the end of the text.
    let quoted = |text: &str| format!("\"{}\"", text.replace(['"', '\0'], " "));
    let has_word = |text: &str| text.chars().any(char::is_alphanumeric);
    let mut parts = Vec::new();
    // Every other part stands in quotes.
    for (number, part) in text.split('"').enumerate() {
        if number % 2 == 1 {
            parts.extend(has_word(part).then(|| quoted(part)));
        } else {
            for word in part.split_whitespace().filter(|word| has_word(word)) {
                // One letter begins too many words.
                let beginning = if word.chars().count() > 1 { "*" } else { "" };
                parts.push(format!("{}{beginning}", quoted(word)));
            }
        }
    }
    parts.truncate(MOST_WORDS);
    (!parts.is_empty()).then(|| parts.join(" AND "))
}

impl SqliteStore {
    /// Brings the indexes of words on by at most so many changes. Whether there is more to do.
    ///
    /// # Errors
    /// See [`StoreError`]; likewise of the methods below.
    pub fn index_changes(&mut self, most: u32) -> Result<bool, StoreError> {
        let transaction = self.connection.transaction()?;
        let after: i64 = transaction.query_row("SELECT change FROM search_position", [], |row| row.get(0))?;
        let found: Vec<(i64, String, String, bool)> = transaction
            .prepare_cached(
                "SELECT * FROM (SELECT change, source_id, id, 0 FROM documents WHERE change > ?1
                                ORDER BY change LIMIT ?2)
                 UNION ALL SELECT * FROM (SELECT change, source_id, id, 1 FROM removals WHERE change > ?1
                                ORDER BY change LIMIT ?2)
                 ORDER BY 1 LIMIT ?2",
            )?
            .query_map(params![after, most], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
            .collect::<Result<_, _>>()?;
        let Some((newest, ..)) = found.last() else { return Ok(false) };
        let newest = *newest;
        let more = found.len() == most as usize;
        let mut unpacker = Unpacker::new().map_err(compression)?;
        for (change, source_id, id, removed) in found {
            let old: Option<(i64, String)> = transaction
                .prepare_cached(
                    "SELECT change, tenant_id FROM search_entries WHERE source_id = ?1 AND id = ?2",
                )?
                .query_row([&source_id, &id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if let Some((row, tenant_id)) = old {
                transaction
                    .prepare_cached(&format!("DELETE FROM {} WHERE rowid = ?1", table(&tenant_id)))?
                    .execute([row])?;
                transaction.prepare_cached("DELETE FROM search_entries WHERE change = ?1")?.execute([row])?;
            }
            if removed {
                continue;
            }
            let mut document = transaction
                .prepare_cached(&format!("SELECT {DOCUMENT_COLUMNS} FROM documents WHERE change = ?1"))?;
            let document = changes::read(&mut document, change, &mut unpacker)?;
            let tenant_id: Option<String> = transaction
                .prepare_cached("SELECT tenant_id FROM sources WHERE id = ?1")?
                .query_row([&source_id], |row| row.get(0))
                .optional()?;
            let Some((document, tenant_id)) = document.zip(tenant_id) else { continue };
            if !exists(&transaction, &tenant_id)? {
                make(&transaction, &tenant_id)?;
            }
            transaction
                .prepare_cached(&format!(
                    "INSERT INTO {} (rowid, title, body) VALUES (?1, ?2, ?3)",
                    table(&tenant_id)
                ))?
                .execute(params![change, document.title, document.content])?;
            transaction
                .prepare_cached("INSERT INTO search_entries VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![change, source_id, id, tenant_id])?;
        }
        transaction.execute("UPDATE search_position SET change = ?1", [newest])?;
        transaction.commit()?;
        Ok(more)
    }

    /// How many changes the indexes of words are behind, at most.
    pub fn search_behind(&self) -> Result<u64, StoreError> {
        let behind = "SELECT changes.last - search_position.change FROM changes, search_position";
        Ok(self.connection.query_row(behind, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
    }

    /// The documents that match, the best first: of the newest `RANKED` matches.
    pub fn search(
        &self,
        query: &SearchQuery,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<ListedDocument>, StoreError> {
        let Some(expression) = expression(&query.text) else { return Ok(Vec::new()) };
        let tenant_id = &query.tenant_id;
        let snapshot = self.connection.unchecked_transaction()?;
        if !exists(&snapshot, tenant_id)? {
            return Ok(Vec::new());
        }
        // A word in the title says more than one in the text.
        let mut statement = snapshot.prepare_cached(&format!(
            "SELECT rowid, bm25({table}, 10.0, 1.0) FROM {table} WHERE {table} MATCH ?1 ORDER BY rowid DESC LIMIT ?2",
            table = table(tenant_id)
        ))?;
        let matches = statement.query_map(params![expression, RANKED], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?))
        })?;
        let mut matches: Vec<(i64, f64)> = matches.collect::<Result<_, _>>()?;
        matches.sort_by(|one, other| one.1.total_cmp(&other.1).then(other.0.cmp(&one.0)));
        let wanted = &query.documents;
        let mut place = snapshot.prepare_cached(
            "SELECT source_id, id, space_key, modified_at FROM documents WHERE change = ?1",
        )?;
        let mut found = Vec::new();
        let mut skipped = 0;
        for (change, _) in matches {
            if found.len() == limit {
                break;
            }
            let document: Option<(String, String, String, String)> = place
                .query_row([change], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                .optional()?;
            let Some((source_id, id, space_key, modified_at)) = document else { continue };
            let fits = wanted.sources.contains(&source_id)
                && wanted.space_key.as_ref().is_none_or(|key| *key == space_key)
                && wanted.modified_after.as_ref().is_none_or(|after| modified_at > *after);
            if !fits {
                continue;
            }
            if skipped < skip {
                skipped += 1;
                continue;
            }
            found.extend(self.listed_document(&source_id, &id)?);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master_key::MasterKey;
    use crate::sealed_token::SealedToken;
    use crate::source_file::Registration;
    use crate::store::samples::document;
    use crate::store::{DEFAULT_TENANT, Run, Store as _, Write};
    use kai_host::Document;

    struct Scene {
        store: SqliteStore,
        /// The id of each source, and its run.
        sources: Vec<(String, Run)>,
        _directory: tempfile::TempDir,
    }

    /// A source of the default tenant, and one of another.
    fn scene() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(directory.path()).unwrap();
        store.prepare_for_service().unwrap();
        store.add_tenant("other", "Other").unwrap();
        let key = MasterKey::parse(&"01".repeat(32), "the test".to_owned()).unwrap();
        let mut sources = Vec::new();
        for (tenant_id, email) in [(DEFAULT_TENANT, "one"), ("other", "two")] {
            let text = format!(
                r#"{{"kind":"CONFLUENCE","base_url":"https://a.example","email":"{email}","api_token":"t"}}"#
            );
            let registration = Registration::parse(text.as_bytes(), None).unwrap();
            let sealed = SealedToken::seal(&key, &registration).unwrap();
            store.add_source(tenant_id, &registration, &sealed).unwrap();
            let run = store.begin_run(&registration.id(), true).unwrap();
            sources.push((registration.id(), run));
        }
        Scene { store, sources, _directory: directory }
    }

    impl Scene {
        fn write(&mut self, source: usize, id: &str, version: u32, title: &str, content: &str) {
            let (source_id, run) = self.sources[source].clone();
            let mut document: Document = document(id, version, content);
            document.reference.title = title.to_owned();
            self.store.write(&source_id, run, &[Write::Document(document)]).unwrap();
        }

        fn index(&mut self) {
            while self.store.index_changes(2).unwrap() {}
        }

        fn find(&self, source: usize, text: &str) -> Vec<String> {
            let query = SearchQuery {
                tenant_id: ["default", "other"][source].to_owned(),
                text: text.to_owned(),
                documents: DocumentQuery {
                    sources: vec![self.sources[source].0.clone()],
                    ..DocumentQuery::default()
                },
            };
            self.store.search(&query, 0, 10).unwrap().into_iter().map(|found| found.document.id).collect()
        }
    }

    #[test]
    fn words_beginnings_and_phrases_are_found_and_titles_count_more() {
        let mut scene = scene();
        scene.write(0, "1", 1, "Release checklist", "How we ship the gateway.");
        scene.write(0, "2", 1, "Gateway", "Café hours and nothing else.");
        scene.write(0, "3", 1, "Other", "ship nothing; the other thing");
        scene.index();
        assert_eq!(scene.find(0, "gateway"), ["2", "1"]);
        assert_eq!(scene.find(0, "gate"), ["2", "1"], "the beginning of a word");
        assert_eq!(scene.find(0, "CAFE hours"), ["2"], "without case and accents");
        let mut both = scene.find(0, "ship the");
        both.sort();
        assert_eq!(both, ["1", "3"], "all words have to be there");
        assert_eq!(scene.find(0, "\"ship the\""), ["1"]);
        for odd in [
            "",
            "   ",
            "\"",
            "\"\"",
            "-",
            "*",
            "AND",
            "title:",
            "NEAR(",
            "a\" OR \"b",
            "😀",
            "(((",
            "'",
            "a\0b",
            "\"a\0 b\"",
        ] {
            scene.find(0, odd);
        }
    }

    #[test]
    fn what_changed_or_is_gone_is_found_as_it_is_now() {
        let mut scene = scene();
        scene.write(0, "1", 1, "One", "apple");
        scene.write(0, "2", 1, "Two", "apple");
        scene.index();
        scene.write(0, "1", 2, "One", "pear");
        assert_eq!(scene.find(0, "apple"), ["2"], "also before it is indexed anew");
        scene.index();
        assert_eq!(scene.find(0, "pear"), ["1"]);
        let source_id = scene.sources[0].0.clone();
        scene.store.remove(&source_id, &["2".to_owned()]).unwrap();
        assert_eq!(scene.find(0, "apple"), Vec::<String>::new());
        scene.index();
        scene.write(0, "2", 1, "Two", "apple");
        scene.index();
        assert_eq!(scene.find(0, "apple"), ["2"]);
        scene.store.remove_source(&source_id).unwrap();
        scene.index();
        let left = "SELECT count(*) FROM search_entries";
        assert_eq!(scene.store.connection.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    }

    #[test]
    fn no_tenant_finds_what_another_has() {
        let mut scene = scene();
        scene.write(0, "1", 1, "Plan", "the merger");
        scene.write(1, "1", 1, "Lunch", "soup");
        scene.index();
        assert_eq!(scene.find(1, "merger"), Vec::<String>::new());
        assert_eq!(scene.find(1, "soup"), ["1"]);
        // A document of another tenant stays out also where its source is asked for.
        let query = SearchQuery {
            tenant_id: "other".to_owned(),
            text: "merger".to_owned(),
            documents: DocumentQuery {
                sources: scene.sources.iter().map(|(id, _)| id.clone()).collect(),
                ..DocumentQuery::default()
            },
        };
        assert_eq!(scene.store.search(&query, 0, 10).unwrap(), []);
    }
}
