//! A host with a policy of its own: which sites may be reached, what a call may use up, how long it may wait.
//!
//! ```sh
//! make component && cargo run -p kai-host --example custom_policy -- target/wasm32-wasip2/component/confluence_connector.wasm
//! ```
//!
//! Nothing is sent: every source is refused before that, except for the last, whose site is simulated.

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::time::Duration;

use confluence_site::Site;
use kai_host::{ComponentSource, Host, HttpTimeouts, Limits, RetryPolicy, Source};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let component = std::env::args().nth(1).ok_or("usage: custom_policy COMPONENT")?;

    // Every policy starts from defaults that suit production; only what differs is said.
    let mut limits = Limits::default();
    limits.memory = 256 << 20;
    limits.cpu = Duration::from_secs(20);
    let mut retry = RetryPolicy::default();
    retry.longest_wait = Duration::from_secs(60);
    let mut timeouts = HttpTimeouts::default();
    timeouts.first_byte = Duration::from_secs(20);
    let policy = Host::builder().limits(limits).retry(retry).http_timeouts(timeouts);

    // Customers of one cloud only. Private addresses are refused by default, before and after DNS.
    let strict = policy.clone().allowed_hosts(["*.atlassian.net", "api.atlassian.com"]).build()?;
    let connector = strict.load(ComponentSource::File(component.clone().into())).await?;
    for base_url in [
        "https://acme.example",
        "https://atlassian.net.evil.example",
        "http://acme.atlassian.net",
        "https://10.0.0.1",
    ] {
        match connector.session(source(base_url)) {
            Ok(_) => println!("{base_url}: allowed"),
            Err(refused) => println!("{base_url}: {refused}"),
        }
    }
    connector.session(source("https://acme.atlassian.net"))?;
    println!("https://acme.atlassian.net: allowed");

    // A test host may reach sites on this machine, and a session may be held to less than its host.
    let site = Site::builder().start().await?;
    let lenient = policy.allow_local(true).build()?;
    let session =
        lenient.load(ComponentSource::File(component.into())).await?.session(source(&site.base_url()))?;
    let mut tiny = Limits::default();
    tiny.memory = 64 << 10;
    println!("with 64 KiB of memory: {:?}", session.clone().with_limits(tiny).validate().await);
    println!("with the host's limits: {:?}", session.validate().await);
    Ok(())
}

fn source(base_url: &str) -> Source {
    Source {
        kind: "CONFLUENCE".into(),
        base_url: base_url.into(),
        email: Site::EMAIL.into(),
        api_token: Site::TOKEN.into(),
        space_key: None,
        cloud_id: None,
    }
}
