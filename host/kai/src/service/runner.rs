//! Begins runs, when somebody asks for one or a schedule says so, and sees them to their ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use kai_host::Connector;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{error, info, warn};

use super::feed::Feed;
use super::live_run::LiveRun;
use super::problem::{self, Problem, RunProblem};
use super::run_queue::{RunQueue, Waiting, next_run};
use crate::access_key::random_id;
use crate::error::Error;
use crate::master_key::MasterKey;
use crate::progress::{Event, Observer as _};
use crate::store::{
    DEFAULT_FULL_EVERY, EndedRun, NewRun, RunState, Schedule, ServiceRun, SharedStore, SourceFilter,
    SourceOverview, SqliteStore, Store as _, StoreError,
};
use crate::summary::Mode;
use crate::sync::{Outcome, SyncOptions, sync};

/// The clock may be set while a dispatcher sleeps; it looks at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How often it is looked whether Confluence asked a run to leave it alone.
const LOOK_FOR_PAUSE: Duration = Duration::from_millis(250);

/// How long the dispatcher leaves a source alone whose run could not even be asked for.
const AFTER_FAULT: Duration = Duration::from_secs(60);

/// The dispatcher and what is under way. Clones are handles to the same.
#[derive(Clone)]
pub(crate) struct Runner(Arc<Inner>);

struct Inner {
    threads: Handle,
    store: SharedStore<SqliteStore>,
    connector: Connector,
    master_key: Arc<MasterKey>,
    feed: Feed,
    queue: Mutex<RunQueue>,
    /// Runs that wait or are under way, by id.
    live: Mutex<HashMap<String, Arc<LiveRun>>>,
    wake: Notify,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Runner {
    /// Goes on with what an earlier process was at, and with the schedules.
    ///
    /// What it does, it does on `threads`.
    pub(crate) async fn start(
        threads: Handle,
        store: SharedStore<SqliteStore>,
        connector: Connector,
        master_key: Arc<MasterKey>,
        feed: Feed,
        stopping: CancellationToken,
    ) -> Result<Self, StoreError> {
        let (runs, sources) = store
            .with(|store| {
                // An id is random, so one that cannot be had is worth no more than the number of the attempt.
                let runs = store.take_up_runs(|| random_id().unwrap_or_else(|error| error.to_string()))?;
                Ok::<_, StoreError>((runs, store.source_overviews()?))
            })
            .await?;
        let runner = Self(Arc::new(Inner {
            threads,
            store,
            connector,
            master_key,
            feed,
            queue: Mutex::default(),
            live: Mutex::default(),
            wake: Notify::new(),
            tasks: TaskTracker::new(),
            stopping,
        }));
        for source in &sources {
            runner.schedule(source);
            for run in runs.iter().filter(|run| run.asked.source_id == source.source.id) {
                info!(source = source.source.id, run = run.asked.id, "a run goes on");
                if !runner.enqueue(source, &run.asked.id) {
                    runner
                        .finish(&run.asked.source_id, &run.asked.id, None, ended(RunState::Cancelled))
                        .await;
                }
            }
        }
        runner.0.tasks.spawn_on(runner.clone().dispatch(), &runner.0.threads);
        Ok(runner)
    }

    /// Asks for a run of a source.
    pub(crate) async fn request(
        &self,
        source: &SourceOverview,
        mode: Mode,
        confirm_removals: bool,
    ) -> Result<ServiceRun, Problem> {
        let source_id = source.source.id.clone();
        if !source.token_kept {
            return Err(Problem::conflict(format!(
                "source {source_id} was synced from a file and has no token here: register it"
            )));
        }
        let waits = |run: &str| {
            Problem::conflict(format!("run {run} of source {source_id} waits for its turn already"))
        };
        if let Some(run) = self.queue().waiting_for(&source_id) {
            return Err(waits(run));
        }
        let id = random_id().map_err(Problem::internal)?;
        let asked = NewRun { id: id.clone(), source_id: source_id.clone(), mode, confirm_removals };
        let queued = self.0.store.with(move |store| store.queue_run(&asked)).await?;
        let Some(run) = queued else { return Err(Problem::not_found("source")) };
        if self.enqueue(source, &id) {
            self.0.wake.notify_one();
            return Ok(run);
        }
        self.finish(&source_id, &id, None, ended(RunState::Cancelled)).await;
        Err(waits("asked for a moment ago"))
    }

    /// Stops a run. Whether it waited or was under way.
    pub(crate) async fn cancel(&self, source_id: &str, run_id: &str) -> bool {
        let Some(live) = self.live(run_id) else { return false };
        let waited = self.queue().withdraw(run_id);
        live.cancelled.cancel();
        if waited {
            self.finish(source_id, run_id, Some(&live), ended(RunState::Cancelled)).await;
            self.forget(run_id);
            // It may be the one that the schedule began: nobody else says when the next one is due.
            if !self.queue().is_scheduled(source_id) {
                self.schedule_next(source_id).await;
            }
        }
        true
    }

    /// Stops whatever is under way or waits for a source, and waits for it to be over.
    pub(crate) async fn stop_source(&self, source_id: &str) {
        loop {
            let runs: Vec<String> = {
                let queue = self.queue();
                let (waiting, running) = (queue.waiting_for(source_id), queue.running_for(source_id));
                waiting.into_iter().chain(running).map(str::to_owned).collect()
            };
            if runs.is_empty() {
                return;
            }
            for id in runs {
                let watched = self.live(&id).map(|live| live.watch());
                self.cancel(source_id, &id).await;
                if let Some(mut watched) = watched {
                    // It is dropped when the run is over.
                    while watched.changed().await.is_ok() {}
                }
            }
        }
    }

    /// The run, while it waits or is under way.
    pub(crate) fn live(&self, run_id: &str) -> Option<Arc<LiveRun>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner).get(run_id).cloned()
    }

    /// The run of a source that is under way or else waits.
    pub(crate) fn live_of_source(&self, source_id: &str) -> Option<(String, Arc<LiveRun>)> {
        let id = {
            let queue = self.queue();
            queue.running_for(source_id).or_else(|| queue.waiting_for(source_id))?.to_owned()
        };
        let live = self.live(&id)?;
        Some((id, live))
    }

    /// Takes over when a source is due.
    pub(crate) fn schedule(&self, source: &SourceOverview) {
        let at = source.schedule.next_run_at.as_deref();
        let due = at.and_then(|at| DateTime::parse_from_rfc3339(at).ok()).map(|at| at.to_utc());
        self.queue().schedule(&source.source.id, due.filter(|_| source.schedule.run_every.is_some()));
        self.0.wake.notify_one();
    }

    /// Forgets when a source was due.
    pub(crate) fn unschedule(&self, source_id: &str) {
        self.queue().schedule(source_id, None);
    }

    /// How many runs wait, and how many are under way.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.queue().counts()
    }

    /// Waits until everything that was under way has let go of the store.
    pub(crate) async fn stopped(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn queue(&self) -> MutexGuard<'_, RunQueue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, source: &SourceOverview, run_id: &str) -> bool {
        let live = LiveRun::new(source.tenant_id.clone(), self.0.feed.clone(), self.0.stopping.child_token());
        let waiting = Waiting {
            run_id: run_id.to_owned(),
            source_id: source.source.id.clone(),
            tenant_id: source.tenant_id.clone(),
            account: format!("{} {}", source.source.base_url.trim_end_matches('/'), source.source.email),
        };
        // Known before its turn may come.
        let mut runs = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
        let pushed = self.queue().push(waiting);
        if pushed {
            runs.insert(run_id.to_owned(), Arc::new(live));
        }
        pushed
    }

    async fn dispatch(self) {
        let stopping = self.0.stopping.clone();
        while !stopping.is_cancelled() {
            let due = self.queue().take_due(Utc::now());
            for source_id in due {
                self.begin_scheduled(&source_id).await;
            }
            loop {
                let Some(next) = self.queue().take_next() else { break };
                self.0.tasks.spawn_on(self.clone().execute(next), &self.0.threads);
            }
            let sleep = self.queue().until_due(Utc::now()).unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    async fn begin_scheduled(&self, source_id: &str) {
        let id = source_id.to_owned();
        let found = self
            .0
            .store
            .with(move |store| {
                let source =
                    store.source_overviews_of(SourceFilter { tenant_id: None, id: Some(&id) })?.pop();
                let every = source.as_ref().and_then(|source| source.schedule.full_every);
                let full = store.is_full_run_due(&id, every.unwrap_or(DEFAULT_FULL_EVERY))?;
                Ok::<_, StoreError>(source.map(|source| (source, full)))
            })
            .await;
        let asked = match found {
            Ok(None) => return,
            Ok(Some((source, full))) => {
                let mode = if full { Mode::Full } else { Mode::Delta };
                self.request(&source, mode, false).await.map(|_| ()).map_err(|problem| problem.detail)
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(detail) = asked {
            warn!(source = source_id, detail, "a scheduled run could not be begun");
            self.queue().schedule(source_id, Some(Utc::now() + AFTER_FAULT));
        }
    }

    async fn execute(self, run: Waiting) {
        let Some(live) = self.live(&run.run_id) else { return };
        live.set_state(RunState::Running.name());
        let id = run.run_id.clone();
        let started = async {
            let (source_id, id) = (run.source_id.clone(), id.clone());
            let found = self.0.store.with(move |store| {
                store.start_run(&id)?;
                store.service_run(&source_id, &id)
            });
            found.await
        };
        let outcome = match started.await {
            Ok(Some(stored)) => {
                let work = self.clone().sync(stored.asked.clone(), Arc::clone(&live));
                // In a task of its own, so that a panic ends this run and nothing else.
                let task = AbortOnDropHandle::new(tokio::spawn(work));
                tokio::select! {
                    biased;
                    outcome = task => match outcome {
                        Ok(outcome) => Some(outcome),
                        Err(panicked) => Some(Err(Error::Usage(format!("the sync failed: {panicked}")))),
                    },
                    () = live.cancelled.cancelled() => None,
                }
            }
            Ok(None) => None,
            Err(error) => Some(Err(error.into())),
        };
        // What is not said to have ended goes on with the next process.
        if !(outcome.is_none() && self.0.stopping.is_cancelled()) {
            self.finish(&run.source_id, &run.run_id, Some(&live), describe(outcome)).await;
            self.schedule_next(&run.source_id).await;
        }
        self.queue().ended(&run.source_id);
        self.forget(&run.run_id);
        self.0.wake.notify_one();
    }

    async fn sync(self, run: NewRun, live: Arc<LiveRun>) -> Result<Outcome, Error> {
        let id = run.source_id.clone();
        let found = move |store: &mut SqliteStore| {
            let filter = SourceFilter { tenant_id: None, id: Some(&id) };
            Ok::<_, StoreError>(store.registered_sources_of(filter)?.pop())
        };
        let Some(source) = self.0.store.with(found).await? else {
            return Err(Error::Usage(format!("source {} has no token here: register it", run.source_id)));
        };
        let registration = source.open(&self.0.master_key)?;
        let session = self.0.connector.session(registration.source.clone())?;
        let options = SyncOptions { full: run.mode == Mode::Full, confirm_removals: run.confirm_removals };
        let work = sync(&session, &registration, &self.0.store, options, &*live);
        let mut work = std::pin::pin!(work);
        let mut told = None;
        loop {
            tokio::select! {
                outcome = &mut work => return Ok(outcome?),
                // The sync itself looks only when it has written something, and nothing may be on its way.
                () = tokio::time::sleep(LOOK_FOR_PAUSE) => {
                    let paused = session.paused_until().filter(|until| told != Some(*until));
                    if let Some(until) = paused {
                        live.event(Event::Paused(until));
                        told = paused;
                    }
                }
            }
        }
    }

    /// Writes how a run ended, and tells those who watch it.
    async fn finish(&self, source_id: &str, run_id: &str, live: Option<&LiveRun>, mut ended: EndedRun) {
        let (id, of) = (run_id.to_owned(), source_id.to_owned());
        let state = ended.state;
        let written = self
            .0
            .store
            .with(move |store| {
                ended.documents = store.count(&of)?;
                store.finish_run(&id, &ended)
            })
            .await;
        if let Err(error) = written {
            error!(run = run_id, %error, "the end of a run could not be written");
        }
        metrics::counter!("kai_runs_total", "state" => state.name()).increment(1);
        info!(source = source_id, run = run_id, state = state.name(), "a run is over");
        if let Some(live) = live {
            live.set_state(state.name());
        }
    }

    fn forget(&self, run_id: &str) {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner).remove(run_id);
    }

    async fn schedule_next(&self, source_id: &str) {
        let id = source_id.to_owned();
        let scheduled = self
            .0
            .store
            .with(move |store| {
                let filter = SourceFilter { tenant_id: None, id: Some(&id) };
                let Some(mut source) = store.source_overviews_of(filter)?.pop() else { return Ok(None) };
                let Some(every) = source.schedule.run_every else { return Ok(None) };
                source.schedule = Schedule {
                    next_run_at: Some(next_run(Utc::now(), every, &mut rand::rng()).to_rfc3339()),
                    ..source.schedule
                };
                store.set_schedule(&id, &source.schedule)?;
                Ok::<_, StoreError>(Some(source))
            })
            .await;
        match scheduled {
            Ok(Some(source)) => self.schedule(&source),
            Ok(None) => {}
            Err(error) => error!(source = source_id, %error, "the next run could not be scheduled"),
        }
    }
}

fn ended(state: RunState) -> EndedRun {
    EndedRun { state, summary: None, problem: None, documents: 0 }
}

/// None: it was cancelled.
fn describe(outcome: Option<Result<Outcome, Error>>) -> EndedRun {
    let cause = |error: &Error| {
        let (_, kind, _) = problem::classify(error);
        // The remedy of the command line is not that of the service.
        let detail = match error {
            Error::RemovalsRefused { gone, of } => {
                format!(
                    "{gone} of {of} documents are gone from Confluence; nothing was removed. Confirm the removals of this run if that is right"
                )
            }
            other => other.to_string(),
        };
        serde_json::to_string(&RunProblem { kind, detail }).ok()
    };
    match outcome {
        None => ended(RunState::Cancelled),
        Some(Err(error)) => EndedRun { problem: cause(&error), ..ended(RunState::Failed) },
        Some(Ok(outcome)) => {
            let state = if outcome.summary.complete { RunState::Completed } else { RunState::Failed };
            EndedRun {
                summary: serde_json::to_string(&outcome.summary).ok(),
                problem: outcome.error.as_ref().and_then(cause),
                ..ended(state)
            }
        }
    }
}
