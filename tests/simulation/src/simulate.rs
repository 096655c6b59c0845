//! A history from its seed to its end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use confluence_connector::source::Source;
use confluence_site::Site;
use futures::task::noop_waker_ref;
use kai::progress::{Event, Observer};
use kai::source_file::Registration;
use kai::store::{Filter, SharedStore, SqliteStore, WhatChanged};
use kai::summary::Mode;
use kai::sync::{Outcome, SyncOptions, sync};
use rand::Rng as _;

use crate::crashing_store::{Crash, CrashingStore};
use crate::native_calls::{NativeCalls, SharedWorld, lock};
use crate::world::{BASE_URL, Stored, World};

/// What a history came to, or many.
#[derive(Debug, Default)]
pub struct Report {
    /// Histories.
    pub seeds: u64,
    /// What must hold and did not, with the seed that shows it again.
    pub findings: Vec<String>,
    /// What happened in a single history, request by request.
    pub trace: Vec<String>,
    /// Processes that began or took up a run.
    pub processes: u64,
    /// Of those, how many died.
    pub crashes: u64,
    /// Runs that came to their end.
    pub runs: u64,
    /// Requests.
    pub requests: u64,
    /// What happened to the site.
    pub events: u64,
    /// Answers that were spoiled.
    pub faults: u64,
}

impl Report {
    /// Adds other histories.
    pub fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.findings.extend(other.findings);
        self.processes += other.processes;
        self.crashes += other.crashes;
        self.runs += other.runs;
        self.requests += other.requests;
        self.events += other.events;
        self.faults += other.faults;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, processes, crashes, runs, requests, events, faults, .. } = self;
        write!(
            formatter,
            "{seeds} seeds: {processes} processes, {crashes} of them died, {runs} runs came to their end; {requests} \
             requests, {faults} of them spoiled, {events} events; found: {}",
            self.findings.len()
        )
    }
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    /// At an operation of the store.
    Dies(Crash),
    /// After so many turns of its tasks.
    Stops(u64),
}

/// Plays the history of a seed: `length` processes, on average, in bad times, and then three runs in peace.
///
/// # Errors
/// The machine has no room for a store.
pub fn simulate(seed: u64, length: u32) -> Result<Report, std::io::Error> {
    let world = Arc::new(Mutex::new(World::new(seed)));
    let directory = tempfile::tempdir()?;
    let mut history = History {
        world,
        directory: directory.path(),
        report: Report::default(),
        follower: Follower::default(),
    };
    history.play(length);
    let world = lock(&history.world);
    Ok(Report {
        seeds: 1,
        findings: world.findings().iter().map(|what| format!("seed {seed}: {what}")).collect(),
        trace: world.trace().to_vec(),
        requests: world.requests,
        events: world.events,
        faults: world.faults,
        ..history.report
    })
}

struct History<'a> {
    world: SharedWorld,
    directory: &'a Path,
    report: Report,
    follower: Follower,
}

/// Somebody who follows the changes of the store, now and then, and not always all of them.
#[derive(Default)]
struct Follower {
    seen: u64,
    copy: BTreeMap<String, Stored>,
}

impl History<'_> {
    fn play(&mut self, length: u32) {
        let processes = lock(&self.world).random().random_range(1..length.max(1) * 2);
        for _ in 0..processes {
            let (options, fate) = self.bad_times();
            self.process(options, fate);
        }
        lock(&self.world).settle();
        let options = SyncOptions { full: true, confirm_removals: true };
        // The first one may take up a run of bad times, which compares only what that one had not.
        for _ in 0..2 {
            if !self.process(options, Fate::Lives) {
                lock(&self.world).find("no run comes to its end in peace".to_owned());
                return;
            }
        }
        let (stored, failures) = self.stored();
        if !failures.is_empty() {
            lock(&self.world).find(format!("known failures outlast the peace: {failures:?}"));
        }
        lock(&self.world).check_equal(&stored);
        self.follow(usize::MAX);
        if self.follower.copy != stored {
            lock(&self.world).find("a follower of the changes ends up with something else".to_owned());
        }
        // And nothing changes where nothing changed.
        self.process(SyncOptions::default(), Fate::Lives);
        let after = self.stored().0;
        lock(&self.world).check_equal(&after);
    }

    /// Time passes, things happen, and a process begins whose fate is decided.
    fn bad_times(&self) -> (SyncOptions, Fate) {
        let mut world = lock(&self.world);
        let pauses = [0, 1, 10, 50, 100, 3_600, 90_000];
        let at = world.random().random_range(0..pauses.len());
        let pause = pauses.get(at).copied().unwrap_or(0);
        world.pass_time(Duration::from_secs(pause));
        for _ in 0..world.random().random_range(0..12) {
            world.event();
            let apart = world.random().random_range(0..5_000);
            world.pass_time(Duration::from_millis(apart));
        }
        let random = world.random();
        let events = if random.random_bool(0.3) { 0.0 } else { random.random_range(0.0..0.5) };
        let faults = if random.random_bool(0.4) { 0.0 } else { random.random_range(0.0..0.15) };
        let options =
            SyncOptions { full: random.random_bool(0.3), confirm_removals: random.random_bool(0.5) };
        let fate = match random.random_range(0..10) {
            0 | 1 => Fate::Dies(Crash { after: random.random_range(0..25), done: random.random_bool(0.5) }),
            2 | 3 => Fate::Stops(random.random_range(1..200)),
            _ => Fate::Lives,
        };
        world.set_rates(events, faults);
        (options, fate)
    }

    /// One process: whether its run came to its end.
    fn process(&mut self, options: SyncOptions, fate: Fate) -> bool {
        self.report.processes += 1;
        {
            let mut world = lock(&self.world);
            world.begin_process();
            world.note(format!("PROCESS {options:?}, {fate:?}"));
        }
        let store = match SqliteStore::open(self.directory) {
            Ok(store) => store,
            Err(error) => {
                lock(&self.world).find(format!("the store does not open: {error}"));
                return false;
            }
        };
        let crash = if let Fate::Dies(crash) = fate { Some(crash) } else { None };
        let store = SharedStore::in_place(CrashingStore { store, crash, world: Arc::clone(&self.world) });
        let (registration, source) = self.source();
        let calls = NativeCalls { world: Arc::clone(&self.world), source };
        let watch = Watch { world: Arc::clone(&self.world), full: AtomicBool::new(false) };
        let run = sync(&calls, &registration, &store, options, &watch);
        let turns = if let Fate::Stops(turns) = fate { turns } else { u64::MAX };
        let outcome = take_turns(run, turns);
        drop(store);
        let most = lock(&self.world).random().random_range(0..40);
        self.follow(most);
        self.judge(outcome, crash.is_some(), watch.full.load(Ordering::Relaxed))
    }

    fn judge(
        &mut self,
        outcome: Option<Result<Outcome, kai::store::StoreError>>,
        dying: bool,
        full: bool,
    ) -> bool {
        let failed = match outcome {
            None => Some("stopped".to_owned()),
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(outcome)) if outcome.summary.complete => None,
            Some(Ok(outcome)) => outcome.error.map(|error| error.to_string()),
        };
        match failed {
            None => {
                self.report.runs += 1;
                let (stored, failures) = self.stored();
                let mut world = lock(&self.world);
                world.note("COMPLETE".to_owned());
                world.finish_run(full, &stored, &failures);
                true
            }
            Some(error) if dying || error == "stopped" => {
                self.report.crashes += 1;
                lock(&self.world).die();
                false
            }
            Some(error) => {
                let mut world = lock(&self.world);
                world.note(format!("FAILED {error}"));
                world.fail_run(&error);
                false
            }
        }
    }

    fn source(&self) -> (Registration, Source) {
        let world = lock(&self.world);
        let space_key = world.pinned().map(str::to_owned);
        let document = serde_json::json!({
            "kind": "CONFLUENCE", "base_url": BASE_URL, "email": Site::EMAIL, "api_token": Site::TOKEN,
            "space_key": space_key,
        });
        let registration = Registration::parse(document.to_string().as_bytes(), None);
        let source = Source {
            kind: "CONFLUENCE".to_owned(),
            base_url: BASE_URL.to_owned(),
            email: Site::EMAIL.to_owned(),
            api_token: Site::TOKEN.to_owned(),
            space_key,
            cloud_id: None,
        };
        #[expect(clippy::expect_used, reason = "a document of our own")]
        (registration.expect("the registration is good"), source)
    }

    /// Lets the follower take some changes.
    fn follow(&mut self, most: usize) {
        let Follower { seen, copy } = &mut self.follower;
        let mut left = most;
        let read = SqliteStore::open_for_reading(self.directory).and_then(|store| {
            store.changes(*seen, None, |change| {
                if left == 0 {
                    return false;
                }
                left -= 1;
                *seen = change.number;
                match change.what {
                    WhatChanged::Written(document) => {
                        copy.insert(document.id.clone(), document.into());
                    }
                    WhatChanged::Removed { id, .. } => {
                        copy.remove(&id);
                    }
                }
                true
            })
        });
        if let Err(error) = read {
            lock(&self.world).find(format!("the changes cannot be read: {error}"));
        }
    }

    /// The documents by id, and the ids of the failures.
    fn stored(&self) -> (BTreeMap<String, Stored>, Vec<String>) {
        let mut documents = BTreeMap::new();
        let read = SqliteStore::open_for_reading(self.directory).and_then(|store| {
            store.documents(&Filter::default(), |document| {
                documents.insert(document.id.clone(), document.into());
                true
            })?;
            store.failures(&Filter::default())
        });
        match read {
            Ok(failures) => (documents, failures.into_iter().map(|failure| failure.page.id).collect()),
            Err(error) => {
                lock(&self.world).find(format!("the store cannot be read: {error}"));
                (documents, Vec::new())
            }
        }
    }
}

/// Runs a future whose tasks never wait for anything but their turns. None where it had not ended after so many.
fn take_turns<F: Future>(future: F, turns: u64) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(noop_waker_ref());
    for _ in 0..turns {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

/// Tells the world which run it is that a process works on.
struct Watch {
    world: SharedWorld,
    full: AtomicBool,
}

impl Observer for Watch {
    fn event(&self, event: Event) {
        if let Event::Started { mode, resumed, .. } = event {
            self.full.store(mode == Mode::Full, Ordering::Relaxed);
            let mut world = lock(&self.world);
            world.begin_run(resumed);
            world.note(format!("{mode:?} run, resumed: {resumed}"));
        }
    }
}
