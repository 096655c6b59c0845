//! Keeps the indexes of words up with the documents, beside the syncs.

use std::time::Duration;

use tracing::error;

use super::Service;
use crate::store::StoreError;

/// Changes that are indexed while nobody else writes: short, because a sync may wait for it.
const AT_ONCE: u32 = 32;

/// How long it waits for more: of a sync that goes on, many changes are indexed together.
const PAUSE: Duration = Duration::from_millis(250);

const AFTER_FAULT: Duration = Duration::from_secs(30);

pub(super) async fn run(service: Service) {
    let mut bell = service.feed.follow(None);
    let stopping = service.stopping.clone();
    while !stopping.is_cancelled() {
        let more = service.store.with(|store| store.index_changes(AT_ONCE));
        let pause = match more.await {
            // Those who wait for the store have their turn in between.
            Ok(true) => continue,
            Ok(false) => PAUSE,
            Err(error) => {
                let error: StoreError = error;
                error!(%error, "documents could not be indexed for the search");
                AFTER_FAULT
            }
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = async {
                bell.changed().await.ok();
                tokio::time::sleep(pause).await;
            } => bell.mark_unchanged(),
        }
    }
}
