//! What `kai sync` does: one source, every registered one, or both again and again.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::stream::{self, FuturesUnordered, StreamExt as _};
use kai::error::{Error, exit};
use kai::markdown_files;
use kai::progress::Observer;
use kai::source_file::Registration;
use kai::store::{SharedStore, SqliteStore};
use kai::summary::Summary;
use kai::sync::{SyncOptions, sync};
use kai_host::{Connector, Source};
use serde::Serialize;

use crate::arguments::Sync;
use crate::commands::{self, Environment, json, print};
use crate::messages;
use crate::progress_bar::{Progress, counted};
use crate::source_commands::{self, Named};
use crate::watch_schedule::{Present, WatchSchedule};

/// Accounts that are synced side by side: they mostly wait for their sites, some of them for long.
const ACCOUNTS_AT_ONCE: usize = 32;

/// How long a watch waits where its sources cannot be read.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The source that `--source` names, once.
pub(crate) async fn one(
    connector: &Connector,
    registration: &Registration,
    arguments: &Sync,
    out: &mut impl Write,
) -> Result<u8, Error> {
    // Before anything is made: an address that leads nowhere leaves no store behind.
    connector.session(registration.source.clone())?;
    let store = SharedStore::new(SqliteStore::open(&arguments.data)?);
    let progress = Progress::new(arguments.quiet);
    let run = Run { connector, store: &store, arguments, full: arguments.full, heading: false };
    let (text, result) = run.of(registration, &progress).await;
    progress.finish();
    out.write_all(&text).ok();
    result
}

/// Every registered source, once: accounts side by side, the sources of one after another. One that fails is told of and
/// keeps no other from its turn; the exit code is that of the first.
pub(crate) async fn all(
    connector: &Connector,
    arguments: &Sync,
    environment: &Environment,
    out: &mut impl Write,
) -> Result<u8, Error> {
    let sources = source_commands::registered(arguments, environment)?;
    let store = SharedStore::new(SqliteStore::open(&arguments.data)?);
    let run = Run { connector, store: &store, arguments, full: arguments.full, heading: true };
    let mut accounts = BTreeMap::<String, Vec<(usize, Named)>>::new();
    for (place, source) in sources.into_iter().enumerate() {
        accounts.entry(source.account()).or_default().push((place, source));
    }
    let ended = stream::iter(accounts.into_values()).map(|sources| {
        let runs = stream::iter(sources);
        runs.then(async |(place, source)| (place, run.of_named(source).await)).boxed_local()
    });
    let mut ended = std::pin::pin!(ended.flatten_unordered(ACCOUNTS_AT_ONCE));
    let mut failed = BTreeMap::new();
    while let Some((place, ended)) = ended.next().await {
        let code = ended.tell(out);
        if code != 0 {
            failed.insert(place, code);
        }
    }
    Ok(failed.into_values().next().unwrap_or(0))
}

/// The source that `--source` names, or every registered one, until the future is dropped. What fails is tried again
/// at the next turn; sources that are added meanwhile, and new tokens, are noticed.
pub(crate) async fn watch(
    connector: &Connector,
    interval: Duration,
    arguments: &Sync,
    environment: &Environment,
    out: &mut impl Write,
) -> Result<u8, Error> {
    let look = || match &arguments.source {
        Some(named) => {
            let registration = source_commands::find(named, arguments, environment)?;
            Ok::<_, Error>(vec![Named { id: registration.id(), registration: Ok(registration) }])
        }
        None => source_commands::registered(arguments, environment),
    };
    // What is wrong from the start is not waited for.
    let mut sources = look()?;
    for source in &sources {
        if let Ok(registration) = &source.registration {
            connector.session(registration.source.clone())?;
        }
    }
    let store = SharedStore::new(SqliteStore::open(&arguments.data)?);
    let mut schedule = WatchSchedule::new(interval);
    let mut running = FuturesUnordered::new();
    loop {
        let present: Vec<Present> = sources
            .iter()
            .map(|source| Present { id: source.id.clone(), account: source.account() })
            .collect();
        for id in schedule.take_due(&present, ACCOUNTS_AT_ONCE, Instant::now()) {
            let Some(at) = sources.iter().position(|source| source.id == id) else { continue };
            let (source, store) = (sources.swap_remove(at), &store);
            running.push(async move {
                let (id, every) = (source.id.clone(), arguments.full_every);
                let due = store.with(move |store| store.is_full_run_due(&id, every)).await.unwrap_or(false);
                let full = arguments.full || due;
                Run { connector, store, arguments, full, heading: true }.of_named(source).await
            });
        }
        let mut pause = schedule.pause(Instant::now());
        sources = loop {
            tokio::select! {
                Some(ended) = running.next(), if !running.is_empty() => {
                    ended.tell(out);
                    schedule.ended(&ended.id, Instant::now(), &mut rand::rng());
                }
                () = tokio::time::sleep(pause) => {}
            }
            match look() {
                Ok(sources) => break sources,
                // A source file that is being replaced, a key that is away: the next look may find it.
                Err(error) => {
                    messages::error(&error);
                    pause = interval.min(LOOK_AGAIN);
                }
            }
        };
    }
}

/// How one run is done.
#[derive(Clone, Copy)]
struct Run<'a> {
    connector: &'a Connector,
    store: &'a SharedStore<SqliteStore>,
    arguments: &'a Sync,
    full: bool,
    /// Whether what is printed says which source it is about.
    heading: bool,
}

/// A run of a registered source that is over.
struct Ended {
    id: String,
    text: Vec<u8>,
    result: Result<u8, Error>,
}

impl Ended {
    fn tell(&self, out: &mut impl Write) -> u8 {
        out.write_all(&self.text).ok();
        out.flush().ok();
        match &self.result {
            Ok(code) => *code,
            Err(error) => {
                messages::error(format_args!("source {}: {error}", self.id));
                error.exit_code()
            }
        }
    }
}

/// A summary that says whose it is.
#[derive(Serialize)]
struct NamedSummary<'a> {
    source: &'a str,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl Run<'_> {
    async fn of_named(self, Named { id, registration }: Named) -> Ended {
        let (text, result) = match registration {
            Ok(registration) => self.of(&registration, &()).await,
            Err(error) => (Vec::new(), Err(error)),
        };
        Ended { id, text, result }
    }

    /// What is to be printed, and how it went.
    async fn of(self, registration: &Registration, observer: &dyn Observer) -> (Vec<u8>, Result<u8, Error>) {
        let mut out = Vec::new();
        let result = self.write_to(&mut out, registration, observer).await;
        (out, result)
    }

    async fn write_to(
        self,
        out: &mut Vec<u8>,
        registration: &Registration,
        observer: &dyn Observer,
    ) -> Result<u8, Error> {
        let id = registration.id();
        let session = self.connector.session(registration.source.clone())?;
        let options = SyncOptions { full: self.full, confirm_removals: self.arguments.confirm_removals };
        let outcome = sync(&session, registration, self.store, options, observer).await?;
        let summary = &outcome.summary;
        if self.arguments.json && self.heading {
            print(out, &json(&NamedSummary { source: &id, summary }));
        } else if self.arguments.json {
            print(out, &json(summary));
        } else {
            if self.heading {
                let Source { base_url, email, .. } = &registration.source;
                print(out, &format!("{id}: {base_url}, {email}, {}", commands::scope(registration.scope())));
            }
            print(out, &commands::report(summary, &outcome.notices));
        }
        // What is in the store is good, also where the run did not come to its end.
        let files = match &self.arguments.markdown {
            Some(directory) => self.write_files(out, id, directory).await,
            None => Ok(()),
        };
        match (outcome.error, files) {
            (Some(error), Ok(())) | (None, Err(error)) => Err(error),
            (Some(error), Err(of_files)) => {
                messages::error(&of_files);
                Err(error)
            }
            (None, Ok(())) if summary.documents.failed > 0 => Ok(exit::SOME_FAILED),
            (None, Ok(())) => Ok(0),
        }
    }

    async fn write_files(self, out: &mut Vec<u8>, id: String, directory: &Path) -> Result<(), Error> {
        let into = directory.to_owned();
        let files = self.store.with(move |store| markdown_files::write(store, &id, &into)).await?;
        if !self.arguments.json {
            let line = format!(
                "{}: {} written, {} unchanged, {} removed",
                directory.display(),
                counted(files.written, "file"),
                files.unchanged,
                files.removed
            );
            print(out, &line);
        }
        Ok(())
    }
}
