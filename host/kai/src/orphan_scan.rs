//! Removal: a document goes only if Confluence itself says that its page is gone.

use std::collections::HashSet;

use kai_host::{CallError, Error as ConnectorError, Partition};
use tracing::info;

use crate::error::Error;
use crate::progress::Event;
use crate::store::{Store, Write};
use crate::summary::DocumentCounts;
use crate::sync::{Pass, ids, page_write};

/// Beyond this share of a source's documents (in percent) ...
const GUARDED_SHARE: u64 = 20;

/// ... and this number of them, removals need a person's word.
const GUARDED_COUNT: u64 = 20;

/// Looks up every document that a full run did not meet, and removes those whose pages are gone. Only after a run whose
/// every space was listed to its end.
///
/// # Errors
/// [`Error::RemovalsRefused`] where too many are gone at once; any other error keeps everything.
pub(crate) async fn remove_orphans<S: Store>(
    pass: &Pass<'_, S>,
    partitions: &[Partition],
    confirmed: bool,
) -> Result<(), Error> {
    let (id, run) = (pass.source_id.to_owned(), pass.run);
    let (unseen, stored) =
        pass.store.with(move |store| Ok((store.unseen(&id, run)?, store.count(&id)?))).await?;
    if unseen.is_empty() {
        return Ok(());
    }
    pass.observer.event(Event::Confirming(unseen.len()));
    let mut scope = Scope { pass, in_scope: ids(partitions), known: Vec::new() };
    let (mut gone, mut present) = (Vec::new(), Vec::new());
    let pages = unseen.into_iter().map(|id| (id, None)).collect();
    for (id, title, fetched) in pass.fetch_all(pages).await {
        match page_write(id.clone(), title, fetched).map_err(Error::call)? {
            // There, but in a space that this run does not cover.
            Some(Write::Document(document))
                if !scope.covers(&document.reference.metadata.space_key).await.map_err(Error::call)? =>
            {
                gone.push(id);
            }
            // It moved or came while the spaces were listed, or it is not to be had now: that is not gone.
            Some(write) => present.push(write),
            None => gone.push(id),
        }
    }
    pass.write(present).await?;
    let count = gone.len() as u64;
    if !confirmed && count > GUARDED_COUNT && count * 100 > stored * GUARDED_SHARE {
        return Err(Error::RemovalsRefused { gone: count, of: stored });
    }
    if gone.is_empty() {
        return Ok(());
    }
    info!(documents = count, "removing what is gone");
    let id = pass.source_id.to_owned();
    let removed = pass.store.with(move |store| store.remove(&id, &gone)).await?;
    pass.count(DocumentCounts { removed, ..DocumentCounts::default() });
    Ok(())
}

/// Which spaces a run covers, also by the other names that a space's pages may carry.
struct Scope<'a, S> {
    pass: &'a Pass<'a, S>,
    in_scope: HashSet<&'a str>,
    known: Vec<(String, bool)>,
}

impl<S: Store> Scope<'_, S> {
    /// A page's address names its space by a key that may be an alias (facts A1), so the site is asked which space
    /// that is.
    async fn covers(&mut self, key: &str) -> Result<bool, CallError> {
        if let Some((_, covered)) = self.known.iter().find(|(known, _)| known == key) {
            return Ok(*covered);
        }
        let covered = match self.pass.session.list_partitions(Some(key.to_owned()), None).await {
            Ok(found) => found.items.iter().any(|partition| self.in_scope.contains(partition.id.as_str())),
            // Not among the visible current spaces: archived, for one.
            Err(CallError::Connector(ConnectorError::NotFound(_))) => false,
            Err(error) => return Err(error),
        };
        self.known.push((key.to_owned(), covered));
        Ok(covered)
    }
}
