//! What goes wrong and what changes on a site while it is read: decided anew at each request, from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use confluence_site::{Fault, PageStatus, RetryAfter, State};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Of a thousand requests, so many meet a fault of their own ...
const FAULTS: u32 = 80;
/// ... so many begin an outage, which is more than the host's retries get over ...
const OUTAGES: u32 = 2;
/// ... and before so many somebody works on a page.
const CHANGES: u32 = 60;
/// Current pages of a site: many enough for several listings, few enough for many runs.
const PAGES: std::ops::RangeInclusive<usize> = 20..=60;
/// Pages of every status; beyond it one that nobody sees any more goes for good.
const RECORDS: usize = 90;

/// One site's share of trouble.
pub(crate) struct Trouble {
    random: StdRng,
    space_keys: Vec<String>,
    outage: u32,
    broken: Option<String>,
    /// Faults by kind.
    pub(crate) injected: BTreeMap<&'static str, u64>,
    /// Of those, answers by which the site asks for a pause (429, or 503 with a time).
    pub(crate) throttling: u64,
    /// Changes of pages.
    pub(crate) changes: u64,
}

impl Trouble {
    pub(crate) fn new(seed: u64, space_keys: Vec<String>) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            space_keys,
            outage: 0,
            broken: None,
            injected: BTreeMap::new(),
            throttling: 0,
            changes: 0,
        }
    }

    /// Before a request is answered: perhaps a page changes, perhaps the answer is to be spoiled.
    pub(crate) fn at_request(&mut self, state: &mut State) -> Option<Fault> {
        if self.chance(CHANGES) {
            self.change(state);
        }
        if self.outage == 0 && self.chance(OUTAGES) {
            self.outage = self.random.random_range(10..40);
        }
        let (kind, fault) = if self.outage > 0 {
            self.outage -= 1;
            self.outage_fault()
        } else if self.chance(FAULTS) {
            self.fault()
        } else {
            return None;
        };
        *self.injected.entry(kind).or_default() += 1;
        let asks_for_a_pause = match &fault {
            Fault::RateLimited(_) => true,
            Fault::Unavailable(after) => !matches!(after, RetryAfter::Absent),
            _ => false,
        };
        self.throttling += u64::from(asks_for_a_pause);
        Some(fault)
    }

    /// What makes pages unreadable comes to its end.
    pub(crate) fn heal(&mut self, state: &mut State) {
        if let Some(id) = self.broken.take() {
            state.set_broken(&id, false);
        }
    }

    fn chance(&mut self, of_a_thousand: u32) -> bool {
        self.random.random_ratio(of_a_thousand, 1000)
    }

    fn outage_fault(&mut self) -> (&'static str, Fault) {
        if self.random.random_bool(0.5) {
            ("reset", Fault::Reset)
        } else {
            ("503 without Retry-After", Fault::Unavailable(RetryAfter::Absent))
        }
    }

    fn fault(&mut self) -> (&'static str, Fault) {
        let random = &mut self.random;
        let short = Duration::from_millis(random.random_range(20..300));
        match random.random_range(0..40) {
            0..2 => ("429 in seconds", Fault::RateLimited(RetryAfter::Seconds(1.0))),
            2..6 => {
                let seconds = f64::from(random.random_range(2_u32..15)) / 10.0;
                ("429 in a fraction of seconds", Fault::RateLimited(RetryAfter::Seconds(seconds)))
            }
            6 => ("429 with a date", Fault::RateLimited(RetryAfter::Date(Duration::from_secs(2)))),
            7..9 => ("429 without Retry-After", Fault::RateLimited(RetryAfter::Absent)),
            9 => ("429 with 0", Fault::RateLimited(RetryAfter::Raw("0".to_owned()))),
            10 => ("429 with a negative number", Fault::RateLimited(RetryAfter::Raw("-3".to_owned()))),
            11 => ("429 with nonsense", Fault::RateLimited(RetryAfter::Raw("soon".to_owned()))),
            12 => match random.random_range(0..3) {
                // Longer than the host waits: the run ends.
                0 => ("429 beyond what is waited for", Fault::RateLimited(RetryAfter::Seconds(5.0))),
                _ => ("429 with a date gone by", past()),
            },
            13..15 => ("503 with Retry-After", Fault::Unavailable(RetryAfter::Seconds(0.4))),
            15..18 => ("503 without Retry-After", Fault::Unavailable(RetryAfter::Absent)),
            18..21 => ("500", Fault::Status(500)),
            21..23 => ("502", Fault::Status(502)),
            23..26 => ("reset", Fault::Reset),
            26..30 => ("truncated body", Fault::Truncate),
            30..33 => ("stall", Fault::Stall(short)),
            // Longer than the host waits for an answer, or for more of one.
            33 => ("stall beyond the timeout", Fault::Stall(Duration::from_secs(3))),
            34 => ("slow body beyond the timeout", Fault::SlowBody(Duration::from_secs(3))),
            35..37 => ("slow body", Fault::SlowBody(short)),
            37..39 => ("near the limit", Fault::NearLimit),
            _ => ("garbage", Fault::Garbage),
        }
    }

    /// Somebody works on a page.
    pub(crate) fn change(&mut self, state: &mut State) {
        let ids = state.page_ids();
        let Some(id) = ids.get(self.random.random_range(0..ids.len().max(1))) else { return };
        let Some(page) = state.page(id) else { return };
        self.changes += 1;
        let current = ids
            .iter()
            .filter(|id| state.page(id).is_some_and(|page| page.status == PageStatus::Current))
            .count();
        if page.status != PageStatus::Current {
            // Back from trash or archive, or gone for good.
            if ids.len() > RECORDS || self.random.random_bool(0.3) {
                state.purge(id);
            } else if current < *PAGES.end() {
                state.set_status(id, PageStatus::Current);
            }
            return;
        }
        let title = format!("Page of change {}", self.changes);
        match self.random.random_range(0..100) {
            0..45 => {
                let text = self.text();
                state.edit(id, Some(&text));
            }
            45..55 => {
                state.rename(id, &title);
            }
            55..70 => {
                if current < *PAGES.end() {
                    let (text, space) = (self.text(), self.space());
                    state.create_page(&space, &title, Some(&text));
                }
            }
            70..82 if current > *PAGES.start() => {
                let status =
                    if self.random.random_bool(0.5) { PageStatus::Trashed } else { PageStatus::Archived };
                state.set_status(id, status);
            }
            82..87 if current > *PAGES.start() => {
                state.purge(id);
            }
            87..93 => {
                let space = self.space();
                state.move_page(id, &space);
            }
            93..97 => {
                let restricted = self.random.random_bool(0.3);
                state.set_restricted(id, restricted);
            }
            _ => self.break_or_mend(state, id),
        }
    }

    /// One page at a time cannot be read, whoever asks for it.
    fn break_or_mend(&mut self, state: &mut State, id: &str) {
        match self.broken.take() {
            Some(broken) => {
                state.set_broken(&broken, false);
            }
            None => {
                state.set_broken(id, true);
                self.broken = Some(id.to_owned());
            }
        }
    }

    fn space(&mut self) -> String {
        let number = self.random.random_range(0..self.space_keys.len().max(1));
        self.space_keys.get(number).cloned().unwrap_or_default()
    }

    /// Always of about the same size: what the sites hold must not grow, or it would look like a leak.
    fn text(&mut self) -> String {
        let words =
            ["release", "plan", "deploy", "<strong>owner</strong>", "incident", "review", "<em>draft</em>"];
        let mut text = String::new();
        for _ in 0..self.random.random_range(1..6) {
            text.push_str("<p>");
            for _ in 0..self.random.random_range(5..40) {
                let number = self.random.random_range(0..words.len());
                text.push_str(words.get(number).copied().unwrap_or_default());
                text.push(' ');
            }
            text.push_str("</p>");
        }
        text
    }
}

fn past() -> Fault {
    Fault::RateLimited(RetryAfter::Raw("Tue, 24 Nov 2015 10:00:00 GMT".to_owned()))
}
