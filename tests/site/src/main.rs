//! Runs the simulated Confluence site until Ctrl-C.

use std::io::Write as _;
use std::time::Duration;

use clap::Parser;
use confluence_site::Site;

/// A simulated Confluence Cloud site on 127.0.0.1.
#[derive(Parser)]
struct Options {
    /// What the content is made from: the same seed gives the same site.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many spaces.
    #[arg(long, default_value_t = 3)]
    spaces: usize,
    /// How many current pages, over all spaces.
    #[arg(long, default_value_t = 30)]
    pages: usize,
    /// About how long the body of a page is.
    #[arg(long, default_value_t = 2000)]
    page_bytes: usize,
    /// The port; 0 for a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How long each answer takes.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let site = Site::builder()
        .seed(options.seed)
        .spaces(options.spaces)
        .pages(options.pages)
        .page_bytes(options.page_bytes)
        .port(options.port)
        .latency(Duration::from_millis(options.latency_ms))
        .start()
        .await?;
    writeln!(
        std::io::stdout(),
        "base URL  {}\nemail     {}\nAPI token {}\n\nCtrl-C ends it.",
        site.base_url(),
        Site::EMAIL,
        Site::TOKEN
    )?;
    tokio::signal::ctrl_c().await
}
