//! A run that is under way, as others watch it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::feed::Feed;
use crate::progress::{Event, Observer};
use crate::summary::DocumentCounts;

/// Spaces that failed and are named; of more, only the number is known.
const NAMED_FAILURES: usize = 20;

/// How a run comes along.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct RunProgress {
    /// `queued`, `running`, or how it ended.
    pub state: String,
    /// `full` or `delta`, once it is known: a source that was never read to its end is read in full.
    pub mode: Option<String>,
    /// Spaces that are read, and those that were read to their end.
    pub spaces: u64,
    /// See `spaces`.
    pub spaces_ended: u64,
    /// Pages to be met, where that is known.
    pub expected: Option<u64>,
    /// Documents so far.
    pub documents: DocumentCounts,
    /// Pages a second since it began.
    pub pages_per_second: f64,
    /// Until when Confluence asked to be left alone: RFC 3339, UTC.
    pub paused_until: Option<String>,
    /// Documents that were not met and are looked up one by one before they are removed.
    pub confirming: u64,
    /// Spaces that could not be read to their end, and why; the first 20.
    pub failures: Vec<SpaceFailure>,
}

/// A space that could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SpaceFailure {
    /// Key of the space.
    pub space_key: String,
    /// Why.
    pub detail: String,
}

/// A run that waits or is under way.
pub(crate) struct LiveRun {
    progress: watch::Sender<RunProgress>,
    pub(crate) cancelled: CancellationToken,
    /// When its turn came.
    began: OnceLock<Instant>,
    tenant_id: String,
    feed: Feed,
}

impl LiveRun {
    pub(crate) fn new(tenant_id: String, feed: Feed, cancelled: CancellationToken) -> Self {
        let progress = RunProgress { state: "queued".to_owned(), ..RunProgress::default() };
        Self { progress: watch::Sender::new(progress), cancelled, began: OnceLock::new(), tenant_id, feed }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<RunProgress> {
        self.progress.subscribe()
    }

    pub(crate) fn set_state(&self, state: &str) {
        self.progress.send_modify(|progress| {
            progress.state = state.to_owned();
            progress.paused_until = None;
        });
        self.feed.ring(&self.tenant_id);
    }
}

impl Observer for LiveRun {
    fn event(&self, event: Event) {
        let committed = matches!(event, Event::Committed(_));
        self.progress.send_modify(|progress| match event {
            Event::Started { mode, spaces, expected, .. } => {
                self.began.get_or_init(Instant::now);
                progress.mode = Some(mode.name().to_owned());
                progress.spaces = spaces as u64;
                progress.expected = expected;
            }
            Event::Committed(counts) => {
                let so_far = &mut progress.documents;
                so_far.add(counts);
                let began = self.began.get_or_init(Instant::now);
                let seconds = began.elapsed().as_secs_f64().max(0.001);
                progress.pages_per_second =
                    ((so_far.upserted + so_far.unchanged) as f64 / seconds * 10.0).round() / 10.0;
                // What was on its way when Confluence asked to be left alone is written meanwhile.
                let now = wall_clock(Instant::now());
                progress.paused_until = progress.paused_until.take().filter(|until| *until > now);
            }
            Event::SpaceEnded(_) => progress.spaces_ended += 1,
            Event::SpaceFailed { key, reason } => {
                if progress.failures.len() < NAMED_FAILURES {
                    progress.failures.push(SpaceFailure { space_key: key, detail: reason });
                }
            }
            Event::Paused(until) => progress.paused_until = Some(wall_clock(until)),
            Event::Confirming(pages) => progress.confirming = pages as u64,
        });
        if committed {
            self.feed.ring(&self.tenant_id);
        }
    }
}

fn wall_clock(at: Instant) -> String {
    let left = at.saturating_duration_since(Instant::now()).min(Duration::from_secs(7 * 24 * 60 * 60));
    let left = chrono::TimeDelta::from_std(left).unwrap_or_default();
    (Utc::now() + left).to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch that was on its way used to hide it.
    #[test]
    fn a_pause_is_shown_to_its_end_whatever_is_written_meanwhile() {
        let run = LiveRun::new("t".to_owned(), Feed::default(), CancellationToken::new());
        let watched = run.watch();
        let committed = || Event::Committed(DocumentCounts { upserted: 1, ..DocumentCounts::default() });
        run.event(Event::Paused(Instant::now() + Duration::from_secs(60)));
        run.event(committed());
        assert!(watched.borrow().paused_until.is_some());
        run.event(Event::Paused(Instant::now()));
        run.event(committed());
        assert_eq!(watched.borrow().paused_until, None);
        assert_eq!(watched.borrow().documents.upserted, 2);
    }
}
