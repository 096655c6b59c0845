//! `kai demo`: a simulated site on loopback, synced end to end, edited, and synced again.

use std::io::Write;
use std::time::Duration;

use confluence_site::Site;
use kai::error::Error;
use kai::source_file::Registration;
use kai::store::{Filter, SharedStore, SqliteStore, StoreError};
use kai::sync::{self, Outcome, SyncOptions};
use kai_host::{Connector, Limits};

use crate::arguments::Common;
use crate::commands::{self, Environment, print};
use crate::progress_bar::Progress;

const SPACES: usize = 3;
const PAGES: usize = 600;

/// Of each answer: enough for the progress to be seen, short enough for nobody to wait.
const LATENCY: Duration = Duration::from_millis(150);

/// Lines of the document that are shown.
const SHOWN_LINES: usize = 40;

pub(crate) async fn run(
    environment: &Environment,
    common: &Common,
    out: &mut impl Write,
) -> Result<u8, Error> {
    let failed = |error| Error::File { path: std::env::temp_dir(), error };
    let site = Site::builder().spaces(SPACES).pages(PAGES).latency(LATENCY).start().await.map_err(failed)?;
    print(
        out,
        &format!("A simulated Confluence site with {SPACES} spaces and {PAGES} pages: {}", site.base_url()),
    );
    let document = serde_json::json!({
        "kind": "CONFLUENCE",
        "base_url": site.base_url(),
        "email": Site::EMAIL,
        "api_token": Site::TOKEN,
    });
    let registration =
        Registration::parse(document.to_string().as_bytes(), None).map_err(Error::SourceFile)?;
    let host = Common {
        allow_local: true,
        ca_file: common.ca_file.clone(),
        component: common.component.clone(),
        ..*common
    };
    let connector = commands::connector(&host, environment, Limits::default()).await?;

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
