//! Runs the simulated Confluence site until Ctrl-C, and takes commands on standard input, each answered with a line.
//!
//! | command | does |
//! |---|---|
//! | `edit N` | makes a new version of `N` current pages, evenly over the site |
//! | `latency MS` | how long each answer takes from now on |
//! | `space {"key", "name"}` | makes a space, of this JSON on one line |
//! | `page {"space_key", "title", "storage"}` | makes a page in storage format, likewise; answers with its id |
//! | `break ID` | answers every request for the body of this page with 500 |
//! | `trash N` | puts `N` current pages into the trash |
//! | `rate-limit SECONDS` | answers the next request with 429 and this Retry-After |
//! | `statistics` | what was asked since the last time, as JSON; begins anew |

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use clap::Parser;
use confluence_site::{Condition, Fault, PageStatus, RetryAfter, Site, State};
use serde::Deserialize;

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
    // Its end is not the end of the site: whoever starts one may have no terminal.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let answer = answer(&site, &line);
            if writeln!(std::io::stdout(), "{answer}").is_err() {
                return;
            }
        }
        // The site stops with its last handle.
        std::mem::forget(site);
    });
    tokio::signal::ctrl_c().await
}

#[derive(Deserialize)]
struct NewSpace {
    key: String,
    name: String,
}

#[derive(Deserialize)]
struct NewPage {
    space_key: String,
    title: String,
    storage: String,
}

fn answer(site: &Site, line: &str) -> String {
    match line.trim().split_once(' ') {
        Some(("space", json)) => return make_space(site, json),
        Some(("page", json)) => return make_page(site, json),
        Some(("break", id)) => {
            let broken = site.with_state(|state| state.set_broken(id, true));
            return if broken { format!("broken {id}") } else { format!("no page {id}") };
        }
        _ => {}
    }
    let mut words = line.split_whitespace();
    let (command, number) = (words.next(), words.next().and_then(|word| word.parse::<u64>().ok()));
    match (command, number) {
        (Some("edit"), Some(count)) => format!("edited {}", site.with_state(|state| edit(state, count))),
        (Some("latency"), Some(milliseconds)) => {
            site.set_latency(Duration::from_millis(milliseconds));
            format!("latency {milliseconds}")
        }
        (Some("trash"), Some(count)) => format!("trashed {}", site.with_state(|state| trash(state, count))),
        (Some("rate-limit"), Some(seconds)) => {
            site.inject(Fault::RateLimited(RetryAfter::Seconds(seconds as f64)), 1, Condition::Any);
            format!("rate limited for {seconds}")
        }
        (Some("statistics"), None) => {
            let (seen, longest_listing) = (site.statistics(), longest_listing(site));
            site.forget();
            serde_json::json!({
                "requests": seen.requests,
                "max_in_flight": seen.max_in_flight,
                "bytes": seen.bytes,
                "longest_listing": longest_listing,
            })
            .to_string()
        }
        _ => format!("unknown command: {line}"),
    }
}

fn make_space(site: &Site, json: &str) -> String {
    match serde_json::from_str::<NewSpace>(json) {
        Ok(new) => format!("space {}", site.with_state(|state| state.create_space(&new.key, &new.name))),
        Err(error) => format!("no space: {error}"),
    }
}

fn make_page(site: &Site, json: &str) -> String {
    let new = match serde_json::from_str::<NewPage>(json) {
        Ok(new) => new,
        Err(error) => return format!("no page: {error}"),
    };
    let id = site.with_state(|state| state.create_page(&new.space_key, &new.title, Some(&new.storage)));
    id.map_or_else(|| format!("no space {}", new.space_key), |id| format!("page {id}"))
}

/// How many pages went there.
fn trash(state: &mut State, count: u64) -> u64 {
    let mut ids = state.page_ids();
    ids.retain(|id| state.status(id) == Some(PageStatus::Current));
    let trashed = ids.iter().take(count as usize).filter(|id| state.set_status(id, PageStatus::Trashed));
    trashed.count() as u64
}

/// Requests for the pages of the space that most were for.
fn longest_listing(site: &Site) -> usize {
    let mut requests: BTreeMap<String, usize> = BTreeMap::new();
    for seen in site.log() {
        let (path, _) = seen.path_and_query.split_once('?').unwrap_or((&seen.path_and_query, ""));
        if path.ends_with("/pages") {
            *requests.entry(path.to_owned()).or_default() += 1;
        }
    }
    requests.into_values().max().unwrap_or_default()
}

/// How many pages got a new version.
fn edit(state: &mut State, count: u64) -> u64 {
    let mut ids = state.page_ids();
    ids.retain(|id| state.status(id) == Some(PageStatus::Current));
    let step = (ids.len() / usize::try_from(count).unwrap_or(usize::MAX).max(1)).max(1);
    let edited = ids.iter().step_by(step).take(count as usize).filter(|id| state.edit(id, None));
    edited.count() as u64
}
