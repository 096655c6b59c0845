//! What `kai sources` does, and how `kai sync` finds registered sources.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write};
use std::path::Path;

use kai::error::Error;
use kai::sealed_token::SealedToken;
use kai::source_file::{Registration, TOKEN_VARIABLE};
use kai::store::{DEFAULT_TENANT, RegisteredSource, SourceOverview, SqliteStore, StoreError};
use kai::validation::validate;
use kai_host::Connector;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::arguments::Sync;
use crate::commands::{self, Environment, print};
use crate::progress_bar::counted;

/// Far more than any token has.
const LONGEST_TOKEN: u64 = 16 * 1024;

/// Registers a source that the site accepts, or updates it.
pub(crate) async fn add(
    connector: &Connector,
    registration: &Registration,
    data: &Path,
    environment: &Environment,
    out: &mut impl Write,
) -> Result<u8, Error> {
    validate(connector, registration).await?;
    let mut store = SqliteStore::open_beside_writer(data)?;
    // A key is made only where it is the first that the store needs: tokens that another one sealed would be lost.
    let first = store.registered_sources()?.is_empty();
    let key = if first { environment.key.read_or_make(data)? } else { environment.key.read(data)? };
    let sealed = SealedToken::seal(&key, registration)?;
    let new = store.add_source(DEFAULT_TENANT, registration, &sealed)?;
    let line = format!(
        "{} source {}: {}, {}, {}",
        if new { "added" } else { "updated" },
        registration.id(),
        registration.source.base_url,
        registration.source.email,
        commands::scope(registration.scope()),
    );
    print(out, &line);
    Ok(0)
}

/// The registration of a source that is in the store, with the new token of the environment, else of stdin.
pub(crate) async fn with_new_token(
    id: &str,
    data: &Path,
    environment: &Environment,
) -> Result<Registration, Error> {
    let store = SqliteStore::open_for_reading(data)?;
    let source = registered_source(&store, id, data)?.ok_or_else(|| unknown(&store, id, data))?;
    let given = environment.token.clone().filter(|token| !token.expose_secret().trim().is_empty());
    let token = match given {
        Some(token) => token,
        None => {
            // In a thread that nobody waits for at the end, so that Ctrl-C ends the question.
            let (sender, receiver) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || sender.send(token_from_stdin()).ok());
            receiver.await.map_err(|_| Error::Usage("stdin cannot be read".to_owned()))??
        }
    };
    Ok(source.with_token(token, &environment.key.read(data)?)?)
}

/// Keeps a new token that the site accepts instead of the old one, for every source of the account.
pub(crate) async fn rotate(
    connector: &Connector,
    registration: &Registration,
    data: &Path,
    environment: &Environment,
    out: &mut impl Write,
) -> Result<u8, Error> {
    validate(connector, registration).await?;
    let mut store = SqliteStore::open_beside_writer(data)?;
    let (token, key) = (&registration.source.api_token, environment.key.read(data)?);
    let sources = store.registered_sources()?.into_iter();
    let mut kept = 0;
    for source in sources.filter(|source| source.shares_account(registration)) {
        let registration = source.with_token(token.clone(), &key)?;
        let sealed = SealedToken::seal(&key, &registration)?;
        let id = registration.id();
        if store.replace_token(&id, &sealed)? {
            print(out, &format!("source {id} has the new token"));
            kept += 1;
        }
    }
    if kept == 0 {
        let id = registration.id();
        return Err(Error::Usage(format!("source {id} was removed meanwhile; the new token is not kept")));
    }
    Ok(0)
}

pub(crate) fn list(data: &Path, as_json: bool, out: &mut impl Write) -> Result<u8, Error> {
    for overview in SqliteStore::open_for_reading(data)?.source_overviews()? {
        let line = if as_json { commands::json(&JsonSource::from(&overview)) } else { describe(&overview) };
        print(out, &line);
    }
    Ok(0)
}

pub(crate) fn remove(id: &str, data: &Path, out: &mut impl Write) -> Result<u8, Error> {
    // Where there is no store, none is made. Whatever else there is to say, it is said when it is opened for writing.
    if let Err(error @ StoreError::Missing { .. }) = SqliteStore::open_for_reading(data) {
        return Err(error.into());
    }
    let mut store = SqliteStore::open(data)?;
    match store.remove_source(id)? {
        Some(documents) => {
            print(out, &format!("removed source {id} with {}", counted(documents, "document")));
            Ok(0)
        }
        None => Err(unknown(&store, id, data)),
    }
}

/// The source that `--source` names: a file, or else the id of a registered source.
pub(crate) fn find(named: &Path, arguments: &Sync, environment: &Environment) -> Result<Registration, Error> {
    let data = &arguments.data;
    let from_file = || Registration::read(named, environment.token.clone());
    if named.exists() {
        return Ok(from_file()?.with_scope_path(arguments.scope_path.clone()));
    }
    let id = named.display().to_string();
    let neither = |why: String| {
        let error = from_file().err().map(|error| error.to_string()).unwrap_or_default();
        Error::Usage(format!("{error}; {why}"))
    };
    let Some(store) = open(data)? else {
        return Err(neither(format!("no source is registered in {}", data.display())));
    };
    let Some(source) = registered_source(&store, &id, data)? else {
        return Err(neither(unknown(&store, &id, data).to_string()));
    };
    refuse_scope_path(arguments)?;
    Ok(source.open(&environment.key.read(data)?)?)
}

/// A registered source: its registration, or why there is none to be had.
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) registration: Result<Registration, Error>,
}

impl Named {
    /// What sources that share a token and its quota have in common.
    pub(crate) fn account(&self) -> String {
        match &self.registration {
            Ok(Registration { source, .. }) => {
                format!("{} {}", source.base_url.trim_end_matches('/'), source.email)
            }
            Err(_) => self.id.clone(),
        }
    }
}

/// Every registered source of the store.
pub(crate) fn registered(arguments: &Sync, environment: &Environment) -> Result<Vec<Named>, Error> {
    let data = &arguments.data;
    refuse_scope_path(arguments)?;
    let sources = match open(data)? {
        Some(store) => store.registered_sources()?,
        None => Vec::new(),
    };
    if sources.is_empty() {
        return Err(Error::Usage(format!(
            "no source is registered in {}: register one with `kai sources add FILE`, or name a file with --source",
            data.display()
        )));
    }
    let key = environment.key.read(data)?;
    let open = |source: RegisteredSource| Named {
        id: source.id().to_owned(),
        registration: source.open(&key).map_err(Error::from),
    };
    Ok(sources.into_iter().map(open).collect())
}

/// The store, where there is one that may have registered sources: one of format 1 has none.
fn open(data: &Path) -> Result<Option<SqliteStore>, Error> {
    match SqliteStore::open_for_reading(data) {
        Err(StoreError::Missing { .. } | StoreError::Older { .. }) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

/// The registered source of this id; an error where only its documents are in the store.
fn registered_source(store: &SqliteStore, id: &str, data: &Path) -> Result<Option<RegisteredSource>, Error> {
    let found = store.registered_sources()?.into_iter().find(|source| source.id() == id);
    if found.is_none() && store.sources()?.iter().any(|source| source.id == id) {
        return Err(Error::Usage(format!(
            "{} has documents of source {id}, but no token: it was synced from a file. Register it with `kai sources add FILE`, or name that file with --source",
            data.display()
        )));
    }
    Ok(found)
}

fn unknown(store: &SqliteStore, id: &str, data: &Path) -> Error {
    match store.sources() {
        Ok(sources) => Error::Usage(format!(
            "there is no source {id} in {}; {}",
            data.display(),
            commands::enumerate(&sources)
        )),
        Err(error) => error.into(),
    }
}

/// Another scope is another source.
fn refuse_scope_path(arguments: &Sync) -> Result<(), Error> {
    match &arguments.scope_path {
        None => Ok(()),
        Some(_) => Err(Error::Usage(
            "--scope-path goes with a source file only: a registered source with another scope is another source; add it with that scope_path in its file".to_owned(),
        )),
    }
}

fn token_from_stdin() -> Result<SecretString, Error> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        write!(io::stderr(), "API token: ").ok();
    }
    let mut line = Zeroizing::new(String::with_capacity(LONGEST_TOKEN as usize));
    let read = stdin.lock().take(LONGEST_TOKEN).read_line(&mut line);
    read.map_err(|error| Error::Usage(format!("stdin cannot be read: {error}; give the new token on it")))?;
    match line.trim() {
        "" => Err(Error::Usage(format!("there is no new token: set {TOKEN_VARIABLE}, or give it on stdin"))),
        token => Ok(token.into()),
    }
}

/// One line for people.
fn describe(overview: &SourceOverview) -> String {
    let SourceOverview { source, documents, failures, last_run, token_kept, .. } = overview;
    let run = match last_run {
        Some(run) => format!("{} run completed {}", run.mode.name(), run.ended_at),
        None => "no run completed".to_owned(),
    };
    [
        source.id.as_str(),
        &source.base_url,
        &source.email,
        &commands::scope(source.scope.as_deref()),
        &counted(*documents, "document"),
        &format!("{failures} failed"),
        &run,
        if *token_kept { "token kept" } else { "token in a file" },
    ]
    .join("\t")
}

/// A source in the shape that others read.
#[derive(Serialize)]
struct JsonSource<'a> {
    id: &'a str,
    base_url: &'a str,
    email: &'a str,
    scope: Option<&'a str>,
    documents: u64,
    failures: u64,
    last_run: Option<JsonRun<'a>>,
    token_kept: bool,
}

#[derive(Serialize)]
struct JsonRun<'a> {
    mode: &'a str,
    ended_at: &'a str,
}

impl<'a> From<&'a SourceOverview> for JsonSource<'a> {
    fn from(overview: &'a SourceOverview) -> Self {
        let run = overview.last_run.as_ref();
        Self {
            id: &overview.source.id,
            base_url: &overview.source.base_url,
            email: &overview.source.email,
            scope: overview.source.scope.as_deref(),
            documents: overview.documents,
            failures: overview.failures,
            last_run: run.map(|run| JsonRun { mode: run.mode.name(), ended_at: &run.ended_at }),
            token_kept: overview.token_kept,
        }
    }
}
