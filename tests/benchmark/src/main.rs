//! Measures whole syncs, the scale, instances, conversion and the start of the real thing: the component in the host,
//! the sync engine with its SQLite store, and `kai` itself, against `confluence-site` in a process of its own.
//!
//! ```sh
//! make bench                            # everything; BENCH_SHORT=1 for a look in two minutes
//! target/release/benchmark sync delta   # only these
//! ```
//!
//! Each measurement is a process of its own, so that its peak memory and its CPU time are nobody else's. What is
//! compared is measured by turns, and medians are compared. Tables are Markdown, on stdout; progress is on stderr.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program shows what it found")]

#[path = "../../../benches/conversion/mod.rs"]
mod conversion;
mod machine;
mod measured;
#[path = "../../../benches/pages/mod.rs"]
mod pages;
mod plot;
mod scenarios;
mod site_process;
mod table;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::scenarios::Bench;

/// Why a measurement could not be made.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures kai against a simulated site.
#[derive(Parser)]
struct Options {
    /// What to measure: everything unless told.
    what: Vec<Scenario>,
    /// Small sizes and few rounds: shows that it works, and roughly what comes out.
    #[arg(long)]
    short: bool,
    /// How often each thing is measured.
    #[arg(long)]
    rounds: Option<usize>,
    /// Where the plot of the scale goes.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// The component.
    #[arg(long, env = "KAI_COMPONENT")]
    component: PathBuf,
    /// A measurement in this very process, which prints its figures as JSON.
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// First runs, with latency, of three spaces and of eight.
    Sync,
    /// Runs over many pages of which few changed.
    Delta,
    /// First runs of ever more pages.
    Scale,
    /// Storage format to Markdown: natively, and through the component.
    Conversion,
    /// Fresh instances, and what idle tenants take.
    Instances,
    /// The start of the program, and the size of the component.
    Start,
    /// The service under load.
    Service,
}

/// What is measured in a process of its own.
#[derive(Subcommand)]
enum Task {
    #[command(name = "measure-sync", hide = true)]
    Sync { base_url: String, data: PathBuf, cache: PathBuf },
    #[command(name = "measure-reading", hide = true)]
    Reading { base_url: String },
    #[command(name = "measure-conversion", hide = true)]
    Conversion { base_url: String, page_bytes: usize, pages: usize, rounds: usize, cache: PathBuf },
    #[command(name = "measure-kinds", hide = true)]
    Kinds { rounds: usize, cache: PathBuf },
    #[command(name = "measure-instances", hide = true)]
    Instances { base_url: String, tenants: u32, calls: usize, cache: PathBuf },
}

#[tokio::main]
async fn main() -> ExitCode {
    // On a thread of the runtime, as what an embedder serves is: the main thread pays for each call with two changes of
    // threads.
    let work = tokio::spawn(run(Options::parse()));
    match work.await.map_err(Failure::from).flatten() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benchmark: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Failure> {
    let component = options.component;
    match options.task {
        Some(Task::Sync { base_url, data, cache }) => {
            tasks::print(&tasks::sync(&component, &base_url, &data, &cache).await?)
        }
        Some(Task::Reading { base_url }) => tasks::print(&tasks::read_listings(&base_url).await?),
        Some(Task::Conversion { base_url, page_bytes, pages, rounds, cache }) => {
            tasks::print(&tasks::convert(&component, &base_url, page_bytes, pages, rounds, &cache).await?)
        }
        Some(Task::Kinds { rounds, cache }) => {
            tasks::print(&tasks::convert_kinds(&component, rounds, &cache).await?)
        }
        Some(Task::Instances { base_url, tenants, calls, cache }) => {
            tasks::print(&tasks::instances(&component, &base_url, tenants, calls, &cache).await?)
        }
        None => {
            let short =
                options.short || std::env::var_os("BENCH_SHORT").is_some_and(|value| !value.is_empty());
            let rounds = options.rounds.unwrap_or(if short { 1 } else { 5 }).max(1);
            let bench = Bench::new(component, rounds, short, options.plot)?;
            println!("{}\n", machine::describe());
            let all = Scenario::value_variants();
            for scenario in if options.what.is_empty() { all } else { &options.what } {
                match scenario {
                    Scenario::Sync => scenarios::sync::run(&bench).await?,
                    Scenario::Delta => scenarios::delta::run(&bench).await?,
                    Scenario::Scale => scenarios::scale::run(&bench).await?,
                    Scenario::Conversion => scenarios::conversion::run(&bench).await?,
                    Scenario::Instances => scenarios::instances::run(&bench).await?,
                    Scenario::Start => scenarios::start::run(&bench).await?,
                    Scenario::Service => scenarios::service::run(&bench).await?,
                }
            }
            Ok(())
        }
    }
}
