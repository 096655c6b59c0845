//! Whose turn it is: runs that wait, and schedules that fall due. Knows nothing of what a run is.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng;

/// Runs of all tenants at once: they mostly wait for their sites.
const MOST: usize = 32;

/// Runs of one tenant at once.
const MOST_PER_TENANT: usize = 8;

/// A scheduled run begins up to this share of its interval earlier or later, so that many do not meet at their site.
const JITTER: f64 = 0.1;

/// A run that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) run_id: String,
    pub(crate) source_id: String,
    pub(crate) tenant_id: String,
    /// Sources of one account take turns: they share its token and what it may send.
    pub(crate) account: String,
}

/// Runs and schedules.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    /// In the order in which they were asked for.
    waiting: Vec<Waiting>,
    /// By source.
    running: HashMap<String, Waiting>,
    /// By source.
    due: BTreeMap<String, DateTime<Utc>>,
}

impl RunQueue {
    /// Whether the run may wait: of one source, one does, beside the one that runs.
    pub(crate) fn push(&mut self, run: Waiting) -> bool {
        if self.waiting.iter().any(|other| other.source_id == run.source_id) {
            return false;
        }
        self.waiting.push(run);
        true
    }

    /// The run that is waiting for a source.
    pub(crate) fn waiting_for(&self, source_id: &str) -> Option<&str> {
        let mut waiting = self.waiting.iter();
        waiting.find(|run| run.source_id == source_id).map(|run| run.run_id.as_str())
    }

    /// The run of a source that is under way.
    pub(crate) fn running_for(&self, source_id: &str) -> Option<&str> {
        self.running.get(source_id).map(|run| run.run_id.as_str())
    }

    /// Takes a run out that waited. Whether it did.
    pub(crate) fn withdraw(&mut self, run_id: &str) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|run| run.run_id != run_id);
        self.waiting.len() < before
    }

    /// Takes out the run whose turn it is: of the tenant that has the fewest, the one that waited longest.
    pub(crate) fn take_next(&mut self) -> Option<Waiting> {
        if self.running.len() >= MOST {
            return None;
        }
        let running_of =
            |tenant_id: &str| self.running.values().filter(|running| running.tenant_id == tenant_id).count();
        let free = self.waiting.iter().enumerate().filter(|(_, run)| {
            !self.running.contains_key(&run.source_id)
                && !self.running.values().any(|running| running.account == run.account)
                && running_of(&run.tenant_id) < MOST_PER_TENANT
        });
        let (at, _) = free.min_by_key(|(at, run)| (running_of(&run.tenant_id), *at))?;
        let run = self.waiting.remove(at);
        self.running.insert(run.source_id.clone(), run.clone());
        Some(run)
    }

    /// The run of a source is over.
    pub(crate) fn ended(&mut self, source_id: &str) {
        self.running.remove(source_id);
    }

    /// Sets when a source is due; none: never.
    pub(crate) fn schedule(&mut self, source_id: &str, due: Option<DateTime<Utc>>) {
        match due {
            Some(due) => self.due.insert(source_id.to_owned(), due),
            None => self.due.remove(source_id),
        };
    }

    /// Whether it is known when the source is due.
    pub(crate) fn is_scheduled(&self, source_id: &str) -> bool {
        self.due.contains_key(source_id)
    }

    /// Takes out the sources that are due. Those that wait or run already are due no more: a run that was missed is none
    /// that has to be made up for.
    pub(crate) fn take_due(&mut self, now: DateTime<Utc>) -> Vec<String> {
        let due: Vec<String> =
            self.due.iter().filter(|(_, due)| **due <= now).map(|(source_id, _)| source_id.clone()).collect();
        for source_id in &due {
            self.due.remove(source_id);
        }
        due.into_iter()
            .filter(|source_id| {
                self.waiting_for(source_id).is_none() && self.running_for(source_id).is_none()
            })
            .collect()
    }

    /// How long until a source is due.
    pub(crate) fn until_due(&self, now: DateTime<Utc>) -> Option<Duration> {
        let next = self.due.values().min()?;
        Some((*next - now).to_std().unwrap_or_default())
    }

    /// How many runs wait, and how many are under way.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.waiting.len(), self.running.len())
    }
}

/// When a run begins that comes an interval after one that ended now.
pub(crate) fn next_run(now: DateTime<Utc>, every: Duration, random: &mut impl Rng) -> DateTime<Utc> {
    let every = every.mul_f64(random.random_range(1.0 - JITTER..=1.0 + JITTER));
    chrono::TimeDelta::from_std(every)
        .ok()
        .and_then(|every| now.checked_add_signed(every))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    fn waiting(run: &str, source: &str, tenant: &str) -> Waiting {
        Waiting {
            run_id: run.to_owned(),
            source_id: source.to_owned(),
            tenant_id: tenant.to_owned(),
            account: format!("account of {source}"),
        }
    }

    fn next(queue: &mut RunQueue) -> Option<String> {
        queue.take_next().map(|run| run.run_id)
    }

    #[test]
    fn a_source_has_one_run_at_a_time_and_one_that_waits() {
        let mut queue = RunQueue::default();
        assert!(queue.push(waiting("1", "a", "t")));
        assert!(!queue.push(waiting("2", "a", "t")));
        assert_eq!(next(&mut queue).unwrap(), "1");
        assert!(queue.push(waiting("3", "a", "t")));
        assert_eq!(next(&mut queue), None);
        queue.ended("a");
        assert_eq!(next(&mut queue).unwrap(), "3");
    }

    #[test]
    fn a_tenant_with_many_runs_leaves_room_for_others() {
        let mut queue = RunQueue::default();
        for number in 0..100 {
            queue.push(waiting(&format!("many{number}"), &format!("m{number}"), "many"));
        }
        queue.push(waiting("one", "o", "one"));
        assert_eq!(next(&mut queue).unwrap(), "many0");
        assert_eq!(next(&mut queue).unwrap(), "one", "it has none yet");
        let taken = std::iter::from_fn(|| next(&mut queue)).count();
        assert_eq!(taken, MOST_PER_TENANT - 1);
        for number in 0..MOST {
            queue.push(waiting(&format!("{number}"), &format!("s{number}"), &format!("t{number}")));
        }
        let taken = std::iter::from_fn(|| next(&mut queue)).count();
        assert_eq!(taken, MOST - MOST_PER_TENANT - 1);
    }

    #[test]
    fn sources_of_one_account_take_turns() {
        let mut queue = RunQueue::default();
        let mut other = waiting("2", "b", "t");
        other.account = "account of a".to_owned();
        queue.push(waiting("1", "a", "t"));
        queue.push(other);
        assert_eq!(next(&mut queue).unwrap(), "1");
        assert_eq!(next(&mut queue), None);
        queue.ended("a");
        assert_eq!(next(&mut queue).unwrap(), "2");
    }

    #[test]
    fn however_many_runs_were_missed_one_is_due() {
        let mut queue = RunQueue::default();
        let (now, hour) = (Utc::now(), chrono::TimeDelta::hours(1));
        queue.schedule("a", Some(now - hour * 100));
        queue.schedule("b", Some(now + hour));
        assert_eq!(queue.until_due(now), Some(Duration::ZERO));
        assert_eq!(queue.take_due(now), ["a"]);
        assert!(queue.take_due(now).is_empty());
        assert_eq!(queue.until_due(now), Some(Duration::from_secs(3600)));
        queue.push(waiting("1", "b", "t"));
        assert!(queue.take_due(now + hour).is_empty(), "it waits already");
        queue.schedule("b", None);
        assert_eq!(queue.until_due(now), None);
    }

    #[test]
    fn the_next_run_is_about_an_interval_away() {
        let mut random = StdRng::seed_from_u64(1);
        let (now, every) = (Utc::now(), Duration::from_secs(1000));
        for _ in 0..100 {
            let pause = (next_run(now, every, &mut random) - now).num_seconds();
            assert!((899..=1100).contains(&pause), "{pause}");
        }
        assert_eq!(next_run(now, Duration::MAX / 2, &mut random), DateTime::<Utc>::MAX_UTC);
    }
}
