//! Removal: a document goes only if Confluence itself says that its page is gone.

use tracing::info;

use crate::calls::Calls;
use crate::error::Error;
use crate::progress::Event;
use crate::single_pages::AT_ONCE;
use crate::store::{Store, StoreError};
use crate::summary::DocumentCounts;
use crate::sync::Pass;

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
    confirmed: bool,
) -> Result<(), Error> {
    let (id, run) = (pass.source_id.to_owned(), pass.run);
    let look = move |store: &mut S| Ok::<_, StoreError>((store.unseen(&id, run)?, store.count(&id)?));
    let (unseen, stored) = pass.store.with(look).await?;
    if unseen.is_empty() {
        return Ok(());
    }
    pass.observer.event(Event::Confirming(unseen.len()));
    let mut gone = Vec::new();
    let pages: Vec<_> = unseen.into_iter().map(|id| (id, None)).collect();
    for pages in pages.chunks(AT_ONCE) {
        let mut present = Vec::new();
        for (id, found) in pass.read_pages(pages).await.map_err(Error::call)? {
            match found {
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
