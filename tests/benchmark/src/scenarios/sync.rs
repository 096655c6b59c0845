//! First runs: pages a second, requests, CPU, memory; with latency, beside what the network alone takes.

use crate::Failure;
use crate::measured::Usage;
use crate::scenarios::{Bench, Synced};
use crate::site_process::{Asked, Content};
use crate::table::{self, median, number};

const LATENCIES: [u64; 3] = [0, 50, 100];

/// What was measured at one latency.
#[derive(Default)]
struct Cell {
    runs: Vec<(Synced, Asked)>,
    readings: Vec<(Usage, Asked)>,
}

pub(crate) async fn run(bench: &Bench) -> Result<(), Failure> {
    let pages = if bench.short { 600 } else { 2000 };
    for spaces in [3, 8] {
        let content = Content { spaces, pages, page_bytes: 15_000 };
        let mut site = bench.site(content).await?;
        let mut cells = LATENCIES.map(|_| Cell::default());
        for _ in 0..bench.rounds {
            for (latency, cell) in LATENCIES.into_iter().zip(&mut cells) {
                site.set_latency(latency).await?;
                let synced = bench.first_sync(&site, pages).await?;
                cell.runs.push((synced, site.asked().await?));
                let read = bench.task(&["measure-reading", &site.base_url]).await?;
                cell.readings.push((read, site.asked().await?));
            }
        }
        show(content, &cells);
    }
    Ok(())
}

fn show(content: Content, cells: &[Cell]) {
    let Content { spaces, pages, page_bytes } = content;
    // What the bytes take by themselves.
    let bytes_seconds =
        cells.first().map_or(0.0, |cell| median(cell.readings.iter().map(|(usage, _)| usage.seconds)));
    let mut rows = Vec::new();
    for (latency, cell) in LATENCIES.into_iter().zip(cells) {
        let of = |value: fn(&(Synced, Asked)) -> f64| median(cell.runs.iter().map(value));
        let seconds = of(|(synced, _)| synced.figures.usage.seconds);
        let cpu = of(|(synced, _)| synced.figures.usage.cpu_seconds);
        let sequence = of(|(_, asked)| asked.in_sequence() as f64);
        let limit = sequence * latency as f64 / 1000.0 + bytes_seconds;
        let alone = median(cell.readings.iter().map(|(usage, _)| usage.seconds));
        let alone_requests = median(cell.readings.iter().map(|(_, asked)| asked.requests as f64));
        rows.push(vec![
            format!("{latency} ms"),
            number(seconds),
            number(pages as f64 / seconds),
            format!("{}, {sequence} in sequence", of(|(_, asked)| asked.requests as f64)),
            number(of(|(_, asked)| asked.max_in_flight as f64)),
            number(cpu),
            number(cpu / seconds),
            number(of(|(synced, _)| synced.figures.usage.peak_mib)),
            number(of(|(synced, _)| synced.database_bytes as f64 / f64::from(1 << 20))),
            format!("{} ({}x)", number(limit), number(seconds / limit)),
            format!("{} ({alone_requests})", number(alone)),
        ]);
    }
    let megabytes =
        cells.first().and_then(|cell| cell.runs.first()).map_or(0.0, |(_, asked)| asked.bytes as f64 / 1e6);
    table::print(
        &format!(
            "First sync: {pages} pages of {} KB, {spaces} spaces ({megabytes:.0} MB of answers)",
            page_bytes / 1000
        ),
        &[
            "latency",
            "seconds",
            "pages/s",
            "requests",
            "in flight",
            "CPU s",
            "cores busy",
            "peak MiB",
            "database MiB",
            "limit s (ratio)",
            "listings only s (requests)",
        ],
        &rows,
    );
}
