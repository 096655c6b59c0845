//! `kai demo`: a simulated site on loopback, synced end to end, edited, and synced again.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use confluence_site::Site;
use kai::error::Error;
use kai::master_key::KeyLocation;
use kai::sealed_token::SealedToken;
use kai::service::Options;
use kai::source_file::Registration;
use kai::store::{DEFAULT_TENANT, Filter, Schedule, SharedStore, SqliteStore, StoreError};
use kai::sync::{self, Outcome, SyncOptions};
use kai_host::{Connector, Limits};

use crate::arguments::Common;
use crate::commands::{self, Environment, print};
use crate::messages;
use crate::progress_bar::Progress;
use crate::service_commands;

const SPACES: usize = 3;
const PAGES: usize = 600;

/// Of each answer: enough for the progress to be seen, short enough for nobody to wait.
const LATENCY: Duration = Duration::from_millis(150);

/// How often pages are edited while the demo is served, and how often they are looked for.
const EDITED_EVERY: Duration = Duration::from_secs(60);

/// Lines of the document that are shown.
const SHOWN_LINES: usize = 40;

/// The simulated site and the service, until `stop` comes to its end. A source is registered, and its pages are edited now
/// and then, so that there is something to see.
pub(crate) async fn serve(
    environment: &Environment,
    common: &Common,
    listen: SocketAddr,
    stop: impl Future<Output = ()>,
) -> Result<u8, Error> {
    let site = start_site().await?;
    let connector = local_connector(environment, common).await?;
    // Goes with everything in it when the demo ends; and so does its key.
    let data = tempfile::tempdir().map_err(failed)?;
    let configuration = tempfile::tempdir().map_err(failed)?;
    let key = KeyLocation::new(None, Some(configuration.path().to_owned())).read_or_make(data.path())?;
    let registration = registration(&site)?;
    let mut store = SqliteStore::open(data.path())?;
    store.add_source(DEFAULT_TENANT, &registration, &SealedToken::seal(&key, &registration)?)?;
    let schedule = Schedule { run_every: Some(EDITED_EVERY), ..Schedule::default() };
    let due = Schedule { next_run_at: Some(chrono::Utc::now().to_rfc3339()), ..schedule };
    store.set_schedule(&registration.id(), &due)?;
    drop(store);
    let options = Options { data: data.path().to_owned(), listen, tls: None };
    let say = |ready| {
        service_commands::say(&ready);
        messages::always(format!(
            "to register its site once more, in one space: kind CONFLUENCE, base_url {}, email {}, api_token {}, space_key ENG",
            site.base_url(),
            Site::EMAIL,
            Site::TOKEN
        ));
    };
    let edits = async {
        for round in 0_usize.. {
            tokio::time::sleep(EDITED_EVERY).await;
            site.with_state(|state| {
                let ids: Vec<String> = state.visible_pages().into_iter().map(|page| page.id).collect();
                for id in ids.iter().skip(round % PAGES).step_by(PAGES / 5) {
                    state.edit(id, None);
                }
            });
        }
    };
    let serving = kai::service::serve(&options, connector, key, say, stop);
    tokio::select! {
        result = serving => result.map(|()| 0),
        () = edits => Ok(0),
    }
}

async fn start_site() -> Result<Site, Error> {
    Site::builder().spaces(SPACES).pages(PAGES).latency(LATENCY).start().await.map_err(failed)
}

fn failed(error: std::io::Error) -> Error {
    Error::File { path: std::env::temp_dir(), error }
}

fn registration(site: &Site) -> Result<Registration, Error> {
    let document = serde_json::json!({
        "kind": "CONFLUENCE",
        "base_url": site.base_url(),
        "email": Site::EMAIL,
        "api_token": Site::TOKEN,
    });
    Registration::parse(document.to_string().as_bytes(), None).map_err(Error::SourceFile)
}

async fn local_connector(environment: &Environment, common: &Common) -> Result<Connector, Error> {
    let host = Common {
        allow_local: true,
        ca_file: common.ca_file.clone(),
        component: common.component.clone(),
        ..*common
    };
    commands::connector(&host, environment, Limits::default()).await
}

pub(crate) async fn run(
    environment: &Environment,
    common: &Common,
    out: &mut impl Write,
) -> Result<u8, Error> {
    let site = start_site().await?;
    print(
        out,
        &format!("A simulated Confluence site with {SPACES} spaces and {PAGES} pages: {}", site.base_url()),
    );
    let registration = registration(&site)?;
    let connector = local_connector(environment, common).await?;
    heading(out, "kai validate");
    commands::validate(&connector, &registration, out).await?;

    // Goes with everything in it when the demo ends.
    let data = tempfile::tempdir().map_err(failed)?;
    let store = SharedStore::new(SqliteStore::open(data.path())?);
    heading(out, "kai sync: the first run brings everything");
    let outcome = sync_once(&connector, &registration, &store, &site, out).await?;
    outcome.error.map_or(Ok(()), Err)?;

    heading(out, "kai documents: one of them");
    let first = |store: &mut SqliteStore| {
        let mut shown = None;
        store.documents(&Filter::default(), |document| {
            shown = Some(document);
            false
        })?;
        Ok::<_, StoreError>(shown)
    };
    let shown = store.with(first).await?;
    if let Some(document) = shown {
        print(out, &format!("{}\n", document.web_url));
        let mut lines = document.content.lines();
        for line in lines.by_ref().take(SHOWN_LINES) {
            print(out, &format!("    {line}"));
        }
        let left = lines.count();
        if left > 0 {
            print(out, &format!("    ... and {left} lines more"));
        }
    }

    heading(out, "Five pages are edited and one is written; kai sync again");
    let edited = site.with_state(|state| {
        let mut ids: Vec<String> = state.visible_pages().into_iter().map(|page| page.id).collect();
        ids = ids.into_iter().step_by(PAGES / 5 + 1).take(5).collect();
        for id in &ids {
            state.edit(id, None);
        }
        ids.extend(state.create_page("ENG", "Fresh from the keyboard", None));
        ids
    });
    let outcome = sync_once(&connector, &registration, &store, &site, out).await?;
    let counts = outcome.summary.documents;
    outcome.error.map_or(Ok(()), Err)?;
    print(
        out,
        &format!("\nChanged on the site: {}. Written by the second run: {}.", edited.len(), counts.upserted),
    );
    print(
        out,
        "\nThe same in a browser, with its API: kai demo --serve. Your own site: kai validate --source FILE.",
    );
    Ok(u8::from(counts.upserted != edited.len() as u64))
}

async fn sync_once(
    connector: &Connector,
    registration: &Registration,
    store: &SharedStore<SqliteStore>,
    site: &Site,
    out: &mut impl Write,
) -> Result<Outcome, Error> {
    let session = connector.session(registration.source.clone())?;
    site.forget();
    let progress = Progress::new(false);
    let result = sync::sync(&session, registration, store, SyncOptions::default(), &progress).await;
    progress.finish();
    let outcome = result?;
    print(out, &commands::report(&outcome.summary, &outcome.notices));
    let seen = site.statistics();
    let by_endpoint: Vec<String> =
        seen.by_endpoint.iter().map(|(endpoint, count)| format!("{endpoint} {count}")).collect();
    print(
        out,
        &format!(
            "the site itself counted: {} requests ({}), at most {} in flight",
            seen.requests,
            by_endpoint.join(", "),
            seen.max_in_flight
        ),
    );
    Ok(outcome)
}

fn heading(out: &mut impl Write, text: &str) {
    print(out, &format!("\n== {text}"));
}
