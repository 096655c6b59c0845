//! Twenty tenants in one process, each on a site of its own: what they share, and what they do not.
//!
//! ```sh
//! make component && cargo run -p kai-host --example many_tenants -- target/wasm32-wasip2/component/confluence_connector.wasm
//! ```
//!
//! The sites are simulated, so nothing leaves this machine.

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::time::Duration;

use confluence_site::Site;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kai_host::{CallError, Carry, Change, ComponentSource, Connector, Host, Session, Source};

const TENANTS: u64 = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let component = std::env::args().nth(1).ok_or("usage: many_tenants COMPONENT")?;
    // One host a process: engine, compiled components, TLS roots and limits are shared by all tenants.
    let host = Host::builder()
        .allow_local(true)
        .concurrent_calls(16)
        .concurrent_calls_per_tenant(4)
        .live_tenants(1_000)
        .build()?;
    let connector = host.load(ComponentSource::File(component.into())).await?;

    let mut sites = Vec::new();
    for seed in 0..TENANTS {
        sites.push(Site::builder().seed(seed).spaces(2).pages(40).start().await?);
    }
    // Connections, credential, statistics and the gate belong to the tenant: a slow site holds up its own tenant only.
    let synced = stream::iter(&sites).map(|site| sync(&connector, site)).buffer_unordered(8);
    let documents: usize = synced.try_fold(0, |sum, documents| async move { Ok(sum + documents) }).await?;
    println!("{TENANTS} tenants, {documents} documents");

    // A token can change while its sessions live: requests that leave from now on carry the new one.
    if let Some(site) = sites.first() {
        let session = connector.session(source(site))?;
        site.with_state(|state| state.set_account(Site::EMAIL, "rotated"));
        println!("with the old token: {}", outcome(session.validate().await));
        session.rotate_token("rotated".into());
        println!("with the new token: {}", outcome(session.validate().await));
    }

    // Running calls get a second to end; none begins any more.
    host.shut_down(Duration::from_secs(1)).await;
    Ok(())
}

fn source(site: &Site) -> Source {
    Source {
        kind: "CONFLUENCE".into(),
        base_url: site.base_url(),
        email: Site::EMAIL.into(),
        api_token: Site::TOKEN.into(),
        space_key: None,
        cloud_id: None,
    }
}

async fn sync(connector: &Connector, site: &Site) -> Result<usize, Box<dyn Error>> {
    let session: Session = connector.session(source(site))?;
    let mut documents = 0;
    for space in session.list_partitions(None, None).await?.items {
        let mut batches = std::pin::pin!(session.batches(space, None, Carry::Documents, None));
        while let Some(batch) = batches.try_next().await? {
            documents += batch.changes.iter().filter(|change| matches!(change, Change::Document(_))).count();
        }
    }
    Ok(documents)
}

fn outcome(result: Result<(), CallError>) -> String {
    result.map_or_else(|error| error.to_string(), |()| "accepted".to_owned())
}
