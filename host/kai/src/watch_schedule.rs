//! When the sources of a watch are due: an interval with jitter, one run an account at a time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::Rng;

/// Sources come and go while a watch runs; it looks for them at least this often.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// A run begins up to this share of the interval earlier or later, so that many watches do not meet at their site.
const JITTER: f64 = 0.1;

/// A source that is there to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) id: String,
    /// Sources of one account take turns: they share its token and what it may send.
    pub(crate) account: String,
}

/// Which source is due when. Knows nothing of what a run is.
#[derive(Debug)]
pub(crate) struct WatchSchedule {
    interval: Duration,
    due: BTreeMap<String, Instant>,
    /// Accounts, by source.
    running: BTreeMap<String, String>,
}

impl WatchSchedule {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, due: BTreeMap::new(), running: BTreeMap::new() }
    }

    /// Takes out those of the present sources that are due, the longest overdue first, `most` at once. A new one is due
    /// at once; one that is gone is forgotten.
    pub(crate) fn take_due(&mut self, present: &[Present], most: usize, now: Instant) -> Vec<String> {
        self.due.retain(|id, _| present.iter().any(|source| source.id == *id));
        let mut due = Vec::new();
        for source in present.iter().filter(|source| !self.running.contains_key(&source.id)) {
            let at = *self.due.entry(source.id.clone()).or_insert(now);
            if at <= now {
                due.push((at, source));
            }
        }
        due.sort_by_key(|(at, _)| *at);
        let mut taken = Vec::new();
        for (_, source) in due {
            let free =
                self.running.len() < most && !self.running.values().any(|other| *other == source.account);
            if free {
                self.due.remove(&source.id);
                self.running.insert(source.id.clone(), source.account.clone());
                taken.push(source.id.clone());
            }
        }
        taken
    }

    /// The run of a source is over. What it missed meanwhile is one run, not many.
    pub(crate) fn ended(&mut self, id: &str, now: Instant, random: &mut impl Rng) {
        if self.running.remove(id).is_some() {
            let jitter = random.random_range(1.0 - JITTER..=1.0 + JITTER);
            self.due.insert(id.to_owned(), now + self.interval.mul_f64(jitter));
        }
    }

    /// How long there is nothing to begin, unless a run ends or sources come.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        let next = self.due.values().min().map_or(LONGEST_LOOK, |next| next.saturating_duration_since(now));
        // What is due and has to wait for a run to end is looked at when one does.
        let overdue = next.is_zero() && !self.running.is_empty();
        if overdue { LONGEST_LOOK } else { next.min(LONGEST_LOOK) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    const INTERVAL: Duration = Duration::from_secs(300);

    /// Each of an account of its own.
    fn sources(ids: &[&str]) -> Vec<Present> {
        ids.iter().map(|id| Present { id: (*id).to_owned(), account: format!("account of {id}") }).collect()
    }

    #[test]
    fn a_source_runs_once_at_a_time_and_again_after_the_interval() {
        let mut random = StdRng::seed_from_u64(1);
        let mut schedule = WatchSchedule::new(INTERVAL);
        let (sources, begin) = (sources(&["a", "b"]), Instant::now());
        assert_eq!(schedule.take_due(&sources, 8, begin), ["a", "b"]);
        let late = begin + 10 * INTERVAL;
        assert!(schedule.take_due(&sources, 8, late).is_empty());
        for _ in 0..100 {
            schedule.ended("a", late, &mut random);
            let pause = schedule.due["a"] - late;
            assert!(pause >= INTERVAL.mul_f64(0.9) && pause <= INTERVAL.mul_f64(1.1), "{pause:?}");
            assert!(schedule.take_due(&sources, 8, late + pause - Duration::from_secs(1)).is_empty());
            assert_eq!(schedule.take_due(&sources, 8, late + pause), ["a"]);
        }
    }

    #[test]
    fn those_that_wait_longest_are_next() {
        let mut random = StdRng::seed_from_u64(1);
        let mut schedule = WatchSchedule::new(INTERVAL);
        let (sources, begin) = (sources(&["a", "b", "c"]), Instant::now());
        assert_eq!(schedule.take_due(&sources, 2, begin).len(), 2);
        assert_eq!(schedule.pause(begin), LONGEST_LOOK);
        schedule.ended("a", begin, &mut random);
        let late = begin + 2 * INTERVAL;
        assert_eq!(schedule.take_due(&sources, 2, late), ["c"]);
        schedule.ended("b", late, &mut random);
        assert_eq!(schedule.take_due(&sources, 2, late), ["a"]);
    }

    #[test]
    fn sources_of_one_account_take_turns() {
        let mut random = StdRng::seed_from_u64(1);
        let mut schedule = WatchSchedule::new(INTERVAL);
        let mut sources = sources(&["a", "b", "c"]);
        sources[1].account = sources[0].account.clone();
        let begin = Instant::now();
        assert_eq!(schedule.take_due(&sources, 8, begin), ["a", "c"]);
        assert_eq!(schedule.pause(begin), LONGEST_LOOK);
        schedule.ended("a", begin, &mut random);
        assert_eq!(schedule.take_due(&sources, 8, begin), ["b"]);
    }

    #[test]
    fn sources_come_and_go() {
        let mut random = StdRng::seed_from_u64(1);
        let mut schedule = WatchSchedule::new(INTERVAL);
        let begin = Instant::now();
        assert_eq!(schedule.pause(begin), LONGEST_LOOK);
        schedule.take_due(&sources(&["a"]), 8, begin);
        schedule.ended("a", begin, &mut random);
        assert_eq!(schedule.take_due(&sources(&["b"]), 8, begin), ["b"]);
        assert_eq!(schedule.take_due(&sources(&["a"]), 8, begin), ["a"], "it came back");
    }
}
