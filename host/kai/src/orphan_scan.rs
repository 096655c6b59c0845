//! Removal: a document goes only if Confluence itself says that its page is gone.

use kai_host::{CallError, Error as ConnectorError, Partition};
use tracing::info;

use crate::calls::Calls;
use crate::error::Error;
use crate::progress::Event;
use crate::store::{Store, StoreError, Write};
use crate::summary::DocumentCounts;
use crate::sync::{AT_ONCE, Pass, page_write};

/// Beyond this share of a source's documents (in percent) ...
const GUARDED_SHARE: u64 = 20;

/// ... and this number of them, removals need a person's word.
const GUARDED_COUNT: u64 = 20;

/// Looks up every document that a full run did not meet, and removes those whose pages are gone. Only after a run whose
/// every space was listed to its end.
///
/// # Errors
/// [`Error::RemovalsRefused`] where too many are gone at once; any other error keeps everything.
pub(crate) async fn remove_orphans<C: Calls, S: Store>(
    pass: &Pass<'_, C, S>,
    partitions: &[Partition],
    confirmed: bool,
) -> Result<(), Error> {
    let (id, run) = (pass.source_id.to_owned(), pass.run);
    let look = move |store: &mut S| Ok::<_, StoreError>((store.unseen(&id, run)?, store.count(&id)?));
    let (unseen, stored) = pass.store.with(look).await?;
    if unseen.is_empty() {
        return Ok(());
    }
    pass.observer.event(Event::Confirming(unseen.len()));
    let mut scope = Scope { pass, partitions, known: Vec::new() };
    let mut gone = Vec::new();
    for ids in unseen.chunks(AT_ONCE) {
        let mut present = Vec::new();
        for (id, title, fetched) in pass.fetch_all(ids.iter().map(|id| (id.clone(), None)).collect()).await {
            match page_write(id.clone(), title, fetched).map_err(Error::call)? {
                // There, but in a space that this run does not cover.
                Some(Write::Document(document))
                    if !scope
                        .covers(&document.reference.metadata.space_key)
                        .await
                        .map_err(Error::call)? =>
                {
                    gone.push(id);
                }
                // It moved or came while the spaces were listed, or it is not to be had now: that is not gone.
                Some(write) => present.push(write),
                None => gone.push(id),
            }
        }
        pass.write(present).await?;
    }
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
struct Scope<'a, C, S> {
    pass: &'a Pass<'a, C, S>,
    partitions: &'a [Partition],
    known: Vec<(String, bool)>,
}

impl<C: Calls, S: Store> Scope<'_, C, S> {
    /// A page's address may name its space by an alias of the key (facts A1), so where no space of the run has that
    /// key, the site is asked which space that is.
    async fn covers(&mut self, key: &str) -> Result<bool, CallError> {
        if self.partitions.iter().any(|partition| partition.key.eq_ignore_ascii_case(key)) {
            return Ok(true);
        }
        if let Some((_, covered)) = self.known.iter().find(|(known, _)| known == key) {
            return Ok(*covered);
        }
        let covered = match self.pass.calls.list_partitions(Some(key.to_owned()), None).await {
            // Where every visible space is covered, this one is, whether or not the listing of spaces had it.
            Ok(found) => {
                !self.pass.pinned
                    || found
                        .items
                        .iter()
                        .any(|space| self.partitions.iter().any(|known| known.id == space.id))
            }
            // Not among the visible current spaces: archived, for one.
            Err(CallError::Connector(ConnectorError::NotFound(_))) => false,
            Err(error) => return Err(error),
        };
        self.known.push((key.to_owned(), covered));
        Ok(covered)
    }
}
