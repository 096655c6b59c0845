//! The soak: many tenants of one host sync for minutes from sites that fail in every way and change all the time. At
//! the end every store must be what its site is, and nothing may be left over.
//!
//! ```sh
//! make soak SOAK_MINUTES=10
//! ```
//!
//! Also read: `SOAK_TENANTS` (200) and `SOAK_SEED` (of the clock, and printed). A seed gives the same sites, tenants,
//! order of faults on each site and choices of each worker; which of them meet is up to the scheduler.

#![allow(clippy::print_stdout, reason = "a program shows what it found")]

mod gates;
mod report;
mod runs;
#[path = "../../tests/support/mod.rs"]
mod support;
mod trouble;
mod usage;
mod world;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kai_host::{ComponentSource, Connector, Host, HttpTimeouts, RetryPolicy};

use crate::gates::{Pauses, Watch};
use crate::report::{Findings, row, rows};
use crate::runs::{AT_ONCE, Runs, Tally};
use crate::support::calls::Calls;
use crate::usage::{Held, quarters, resident_memory};
use crate::world::{Traffic, World};

/// Why the soak could not be.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

const PROGRESS: Duration = Duration::from_secs(10);
const SAMPLE: Duration = Duration::from_secs(2);
/// What Confluence tolerates.
const IN_FLIGHT: u64 = 8;
/// In percent: the median of the last quarter over that of the third. Medians, as a single call may take many MiB for
/// a moment; these two quarters, as caches, pools and the allocator's arenas fill up in the first half.
const GROWTH: u64 = 10;
/// The longest that a site asks for before the healing, and is waited for.
const LAST_PAUSE: Duration = Duration::from_secs(6);
/// Closed connections and ended tasks are swept up by then.
const SWEPT_UP: Duration = Duration::from_secs(20);

struct Options {
    minutes: f64,
    tenants: usize,
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match soak().await {
        Ok(violated) if violated.is_empty() => {
            println!("passed");
            ExitCode::SUCCESS
        }
        Ok(violated) => {
            for (check, times) in violated {
                println!("FAILED: {check} ({times} times)");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("the soak could not be done: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The violated checks.
async fn soak() -> Result<Vec<(&'static str, u64)>, Failure> {
    let options = options()?;
    println!(
        "soak: {} minutes, {} tenants, {AT_ONCE} runs at once, seed {}",
        options.minutes, options.tenants, options.seed
    );
    let findings = Arc::new(Findings::default());
    let calls = Arc::new(Calls::default());
    metrics::set_global_recorder(Arc::clone(&calls)).map_err(|error| error.to_string())?;
    let connector = connector().await?;
    // The task of that first call may be about to end yet.
    tokio::time::sleep(SAMPLE).await;
    let before = Held::now();
    let figures = {
        let world = Arc::new(World::new(options.seed, options.tenants).await?);
        println!("{} sites are up", world.places.len());
        read(&options, &connector, &world, &findings).await?
    };
    let after = swept_up(before).await;
    let checks = Checks { figures: &figures, calls: &calls, before, after };
    checks.show();
    checks.make(&findings);
    Ok(findings.all())
}

fn options() -> Result<Options, Failure> {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let options = Options {
        minutes: variable("SOAK_MINUTES", 10.0)?,
        tenants: variable("SOAK_TENANTS", 200)?,
        seed: variable("SOAK_SEED", clock)?,
    };
    if !(options.minutes > 0.0 && options.minutes < 1e6) || options.tenants == 0 {
        return Err("SOAK_MINUTES and SOAK_TENANTS must be above 0".into());
    }
    Ok(options)
}

fn variable<T: FromStr>(name: &str, default: T) -> Result<T, Failure> {
    match std::env::var(name) {
        Err(_) => Ok(default),
        Ok(text) => text.trim().parse().map_err(|_| format!("{name} is {text:?}: write a number").into()),
    }
}

/// One connector on one host, as in production but for its patience.
async fn connector() -> Result<Connector, Failure> {
    let mut retry = RetryPolicy::default();
    retry.backoff = Duration::from_millis(10);
    retry.longest_backoff = Duration::from_millis(200);
    retry.longest_wait = Duration::from_secs(3);
    retry.total_wait = Duration::from_secs(20);
    let mut timeouts = HttpTimeouts::default();
    timeouts.connect = Duration::from_secs(5);
    timeouts.first_byte = Duration::from_secs(2);
    timeouts.between_bytes = Duration::from_secs(2);
    timeouts.total = Duration::from_secs(10);
    let host = Host::builder().allow_local(true).retry(retry).http_timeouts(timeouts).build()?;
    let connector = host.load(ComponentSource::File(support::component())).await?;
    // What the first call sets up for good is no leak.
    connector.describe().await?;
    Ok(connector)
}

/// What the soak came to.
struct Figures {
    seconds: f64,
    counted: runs::Counted,
    traffic: Traffic,
    pauses: Pauses,
    memory: Vec<u64>,
    most_sockets: usize,
    injected: BTreeMap<&'static str, u64>,
    throttling: u64,
    changes: u64,
    sites: SiteFigures,
}

/// What the sites saw.
#[derive(Default)]
struct SiteFigures {
    requests: u64,
    most_in_flight: u64,
    during_retry_after: u64,
    unknown_paths: u64,
    rejected_credentials: u64,
}

/// Trouble for as long as it was asked for, then runs on healed sites, then the comparison.
async fn read(
    options: &Options,
    connector: &Connector,
    world: &Arc<World>,
    findings: &Arc<Findings>,
) -> Result<Figures, Failure> {
    let tally = Arc::new(Tally::default());
    let watch = Watch::begin(Arc::clone(world), Arc::clone(findings))?;
    world.begin_trouble();
    let began = Instant::now();
    let deadline = began + Duration::from_secs_f64(options.minutes * 60.0);
    let mut usage = Usage::default();
    let running = Runs::new(connector, world, &tally, findings).until(deadline, options.seed);
    tokio::pin!(running);
    loop {
        tokio::select! {
            ended = &mut running => break ended?,
            () = tokio::time::sleep(SAMPLE) => usage.sample(began, world, &tally),
        }
    }
    let (seconds, counted, traffic) = (began.elapsed().as_secs_f64(), tally.counted(), world.traffic());
    println!("the time is over: the sites heal, and every tenant compares everything");
    world.heal();
    tokio::time::sleep(LAST_PAUSE).await;
    runs::settle(connector, world, &tally, findings).await;
    let pauses = watch.end();
    let (mut injected, mut throttling, mut changes) = (BTreeMap::new(), 0, 0);
    for place in &world.places {
        let trouble = place.trouble();
        for (kind, times) in &trouble.injected {
            *injected.entry(*kind).or_default() += times;
        }
        throttling += trouble.throttling;
        changes += trouble.changes;
    }
    Ok(Figures {
        seconds,
        counted,
        traffic,
        pauses,
        memory: usage.memory,
        most_sockets: usage.most_sockets,
        injected,
        throttling,
        changes,
        sites: at_sites(world, findings),
    })
}

fn at_sites(world: &World, findings: &Findings) -> SiteFigures {
    let mut sum = SiteFigures::default();
    for (number, place) in world.places.iter().enumerate() {
        let seen = place.statistics();
        sum.requests += seen.requests;
        sum.most_in_flight = sum.most_in_flight.max(seen.max_in_flight);
        sum.during_retry_after += seen.during_retry_after;
        sum.unknown_paths += seen.unknown_paths;
        sum.rejected_credentials += seen.rejected_credentials;
        findings.check(seen.max_in_flight <= IN_FLIGHT, "more than 8 requests in flight to a site", || {
            format!("site {number}: {}", seen.max_in_flight)
        });
        // A request is counted before it is sent, so what the gates' watch saw is all there was.
        let counted = place.requests();
        findings.check(
            place.tenants.len() == 1 || seen.requests <= counted,
            "a request that the host did not count",
            || format!("site {number} saw {} requests, the host counted {counted}", seen.requests),
        );
    }
    sum
}

/// Samples of what the process takes while tenants run.
#[derive(Default)]
struct Usage {
    memory: Vec<u64>,
    most_sockets: usize,
    told: Option<Instant>,
}

impl Usage {
    fn sample(&mut self, began: Instant, world: &World, tally: &Tally) {
        let memory = resident_memory();
        self.memory.extend(memory);
        let held = Held::now();
        self.most_sockets = self.most_sockets.max(held.sockets.unwrap_or_default());
        if self.told.is_some_and(|told| told.elapsed() < PROGRESS) {
            return;
        }
        self.told = Some(Instant::now());
        let (counted, traffic) = (tally.counted(), world.traffic());
        println!(
            "{:4} s: {} runs, {} of them cleanly; {} requests, {} throttled; {} MiB, {} sockets, {} tasks",
            began.elapsed().as_secs(),
            counted.runs(),
            counted.clean,
            traffic.requests,
            traffic.throttled,
            memory.unwrap_or_default() / 1024,
            held.sockets.unwrap_or_default(),
            held.tasks,
        );
    }
}

/// What is held when all that was opened since `before` is closed, or when that takes too long.
async fn swept_up(before: Held) -> Held {
    let began = Instant::now();
    loop {
        let now = Held::now();
        if now == before || began.elapsed() > SWEPT_UP {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Checks<'a> {
    figures: &'a Figures,
    calls: &'a Calls,
    before: Held,
    after: Held,
}

impl Checks<'_> {
    fn show(&self) {
        let Figures { seconds, counted, traffic, pauses, sites, .. } = self.figures;
        println!();
        row("seconds of trouble", format!("{seconds:.0}"));
        row("runs", counted.runs());
        row("  of them delta, full", format!("{}, {}", counted.delta, counted.full));
        row("  cleanly ended", counted.clean);
        row("  given up on purpose", counted.given_up);
        rows("runs ended by errors", counted.errors.clone());
        row(
            "documents written, removed, failed",
            format!("{}, {}, {}", counted.upserted, counted.removed, counted.failed),
        );
        row("changes of pages", self.figures.changes);
        row("requests", format!("{} ({:.0}/s)", traffic.requests, traffic.requests as f64 / seconds));
        row("  repeated", traffic.retries);
        row("  throttled", format!("{} (for {:.0} s)", traffic.throttled, traffic.throttled_seconds));
        row("  MiB of answers", traffic.bytes >> 20);
        row("requests that the sites saw", format!("{}, the last runs' among them", sites.requests));
        row("most in flight to a site", sites.most_in_flight);
        row("under way when a 429 was sent", sites.during_retry_after);
        row("pauses kept", format!("{}, looked at {} times", pauses.kept, pauses.looks));
        row("pauses never heard of", format!("{} of {} answers lost", pauses.unknown, self.lost()));
        rows("faults", self.figures.injected.clone());
        rows("calls by outcome", self.calls.by_outcome());
        if let Some(quarters) = quarters(&self.figures.memory) {
            let mib = quarters.map(|kib| format!("{:.1}", kib as f64 / 1024.0));
            row("MiB resident, by quarter", mib.join(", "));
        }
        let count =
            |count: Option<usize>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        let Self { before, after, .. } = self;
        row(
            "sockets before, at most, after",
            format!("{}, {}, {}", count(before.sockets), self.figures.most_sockets, count(after.sockets)),
        );
        row(
            "descriptors before, after",
            format!("{}, {}", count(before.descriptors), count(after.descriptors)),
        );
        row("tasks before, after", format!("{}, {}", before.tasks, after.tasks));
        println!();
    }

    fn make(&self, findings: &Findings) {
        let Figures { counted, sites, pauses, .. } = self.figures;
        findings
            .check(counted.clean > 0, "no run ended cleanly", || "there was nothing to be seen".to_owned());
        findings.check(pauses.looks > 0, "no pause was looked at", || {
            "the check of gates saw nothing".to_owned()
        });
        let stray = sites.unknown_paths + sites.rejected_credentials;
        findings.check(stray == 0, "requests for other paths or accounts", || stray.to_string());
        findings.check(pauses.unknown <= self.lost(), "a pause that the host ignored", || {
            format!("{} pauses, {} answers lost", pauses.unknown, self.lost())
        });
        for (outcome, count) in self.calls.by_outcome() {
            let explained = matches!(outcome.as_str(), "ok" | "error");
            findings
                .check(explained, "calls that ended as no fault explains", || format!("{outcome}: {count}"));
        }
        match quarters(&self.figures.memory) {
            Some([_, _, third, last]) => {
                findings.check(last * 100 <= third * (100 + GROWTH), "memory grows", || {
                    format!("{third} KiB in the third quarter, {last} KiB in the last")
                });
            }
            None => println!("memory is not checked: too few samples, or a system without /proc"),
        }
        findings.check(self.after == self.before, "something was left open", || {
            format!("{:?} before, {:?} after", self.before, self.after)
        });
    }

    /// Answers that asked for a pause and never reached the host: of calls that were given up or timed out.
    fn lost(&self) -> u64 {
        self.figures.throttling.saturating_sub(self.figures.traffic.throttled)
    }
}
