//! One source, synced into a SQLite store.
//!
//! ```sh
//! make component && cargo run -p kai --example sync_one_source -- target/wasm32-wasip2/component/confluence_connector.wasm acme.json
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::path::Path;

use kai::source_file::Registration;
use kai::store::{SharedStore, SqliteStore};
use kai::sync::{SyncOptions, sync};
use kai_host::{ComponentSource, Host};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, source_file] = arguments.as_slice() else {
        return Err("usage: sync_one_source COMPONENT SOURCE_FILE".into());
    };
    let connector = Host::builder().build()?.load(ComponentSource::File(component.into())).await?;
    let registration = Registration::read(Path::new(source_file), None)?;
    let session = connector.session(registration.source.clone())?;
    let store = SharedStore::new(SqliteStore::open(Path::new("kai-data"))?);
    let outcome = sync(&session, &registration, &store, SyncOptions::default(), &()).await?;
    println!("{:?}", outcome.summary);
    outcome.error.map_or(Ok(()), |error| Err(error.into()))
}
