//! Lists the newest pages of a site through a sandboxed connector.
//!
//! ```sh
//! KAI_API_TOKEN=... cargo run -p kai-host --example list_pages -- confluence_connector.wasm https://acme.atlassian.net ada@acme.example
//! ```
//!
//! With `http://127.0.0.1:PORT` it reads a local test site, such as `cargo run -p confluence-site` starts.

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use futures::TryStreamExt as _;
use kai_host::{Carry, Change, ComponentSource, Host, Source};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, base_url, email] = arguments.as_slice() else {
        return Err("usage: list_pages COMPONENT BASE_URL EMAIL (and the token in KAI_API_TOKEN)".into());
    };
    let token = std::env::var("KAI_API_TOKEN").map_err(|_| "KAI_API_TOKEN is not set")?;

    // One host a process: it holds the engine and what all tenants share.
    let host = Host::builder().allow_local(base_url.starts_with("http://127.0.0.1")).build()?;
    let connector = host.load(ComponentSource::File(component.into())).await?;

    // One session a source. The connector never sees the token, only a stand-in.
    let session = connector.session(Source {
        kind: "CONFLUENCE".into(),
        base_url: base_url.clone(),
        email: email.clone(),
        api_token: token.into(),
        space_key: None,
        cloud_id: None,
    })?;
    session.validate().await?;

    for space in session.list_partitions(None, None).await?.items {
        println!("{} ({})", space.name, space.key);
        let mut batches = std::pin::pin!(session.batches(space, None, Carry::References, None));
        while let Some(batch) = batches.try_next().await? {
            for change in batch.changes {
                match change {
                    Change::Reference(page) => println!("  {}  {}", page.modified_at, page.title),
                    Change::Failure(failure) => println!("  {} failed: {:?}", failure.id, failure.cause),
                    Change::Document(_) => {}
                }
            }
        }
    }
    println!("{:?}", session.statistics());
    Ok(())
}
