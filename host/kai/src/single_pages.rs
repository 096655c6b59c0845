//! Pages that are asked for by their ids: what differs from a listing, what failed before, what no listing showed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::stream::{self, StreamExt as _};
use kai_host::{CallError, Error as ConnectorError};

use crate::calls::Calls;
use crate::memory_budget::UNKNOWN_BATCH;
use crate::store::{FailedPage, Store, Write};
use crate::sync::{Pass, SIDE_BY_SIDE, is_about_the_run};

/// Pages that are in memory at once before they are written: each may have 5 MB.
pub(crate) const AT_ONCE: usize = 16;

/// Keys that no space of a run has, and the keys of the covered spaces that they turned out to mean.
#[derive(Default)]
pub(crate) struct OtherKeys(Mutex<HashMap<String, Option<String>>>);

impl OtherKeys {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Calls, S: Store> Pass<'_, C, S> {
    /// Reads pages one by one, several at a time. Each comes to a write, as a document or a failure, or to none: Confluence
    /// says that it is gone, or it is in a space that the source does not cover.
    ///
    /// # Errors
    /// What says nothing of a page: whatever asked for them has to be taken up again.
    pub(crate) async fn read_pages(
        &self,
        pages: &[(String, Option<String>)],
    ) -> Result<Vec<(String, Option<Write>)>, CallError> {
        let _share = self.budget.share(UNKNOWN_BATCH).await;
        // By value: a closure over borrowed items is none that the compiler takes for `Send` in every case.
        let reads = pages.iter().cloned().map(|(id, title)| async move {
            let fetched = self.calls.fetch(id.clone()).await;
            (id, title, fetched)
        });
        let fetched: Vec<_> = stream::iter(reads).buffer_unordered(SIDE_BY_SIDE).collect().await;
        let mut found = Vec::with_capacity(fetched.len());
        for (id, title, fetched) in fetched {
            let page = match fetched {
                Ok(mut document) => match self.covered_space(&document.reference.metadata.space_key).await? {
                    Some(key) => {
                        document.reference.metadata.space_key = key;
                        Some(Write::Document(document))
                    }
                    None => None,
                },
                Err(CallError::Connector(ConnectorError::NotFound(_))) => None,
                Err(error) if is_about_the_run(&error) => return Err(error),
                // Also a page that makes the connector crash or run into its limits is a failure of that page.
                Err(error) => {
                    let cause = error.to_string();
                    Some(Write::Failed(FailedPage { id: id.clone(), title, cause }))
                }
            };
            found.push((id, page));
        }
        Ok(found)
    }

    /// The key of the space that pages name so, where the source covers it. A page's address may name its space by an
    /// alias of the key (facts A1), so where no space of the run has that key, the site is asked which space that is.
    async fn covered_space(&self, key: &str) -> Result<Option<String>, CallError> {
        let listed = self.partitions.iter().find(|partition| partition.key.eq_ignore_ascii_case(key));
        if let Some(partition) = listed {
            return Ok(Some(partition.key.clone()));
        }
        if let Some(known) = self.other_keys.lock().get(key) {
            return Ok(known.clone());
        }
        let covered = match self.calls.list_partitions(Some(key.to_owned()), None).await {
            // Where every visible space is covered, this one is, whether or not the listing of spaces had it.
            Ok(found) => found.items.into_iter().next().filter(|space| {
                !self.pinned || self.partitions.iter().any(|partition| partition.id == space.id)
            }),
            // Not among the visible current spaces: archived, for one.
            Err(CallError::Connector(ConnectorError::NotFound(_))) => None,
            Err(error) => return Err(error),
        };
        let covered = covered.map(|space| space.key);
        self.other_keys.lock().insert(key.to_owned(), covered.clone());
        Ok(covered)
    }
}
