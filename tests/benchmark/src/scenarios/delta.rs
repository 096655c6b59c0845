//! Runs over many pages of which none or few changed.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::Failure;
use crate::scenarios::{Bench, Synced};
use crate::site_process::{Asked, Content};
use crate::table::{self, median, number};

const SPACES: usize = 3;
const LATENCIES: [u64; 2] = [0, 50];
const CHANGED: [u64; 2] = [0, 10];

pub(crate) async fn run(bench: &Bench) -> Result<(), Failure> {
    let pages = if bench.short { 5_000 } else { 100_000 };
    let mut site = bench.site(Content { spaces: SPACES, pages, page_bytes: 2000 }).await?;
    let first = bench.fresh_data()?;
    bench.sync(&site, &first).await?;
    let mut rows = Vec::new();
    for changed in CHANGED {
        site.edit(changed).await?;
        let mut runs: [Vec<(Synced, Asked)>; LATENCIES.len()] = [const { Vec::new() }; LATENCIES.len()];
        for _ in 0..bench.rounds {
            for (latency, runs) in LATENCIES.into_iter().zip(&mut runs) {
                // Each from the same store: a token stays a minute behind, so that the next run would read more.
                let data = copy(bench, first.path())?;
                site.set_latency(latency).await?;
                site.asked().await?;
                let synced = bench.sync(&site, &data).await?;
                if synced.figures.upserted != changed {
                    return Err(format!("{} of {changed} changes came", synced.figures.upserted).into());
                }
                runs.push((synced, site.asked().await?));
            }
        }
        for (latency, runs) in LATENCIES.into_iter().zip(&runs) {
            let of = |value: fn(&(Synced, Asked)) -> f64| median(runs.iter().map(value));
            let seconds = of(|(synced, _)| synced.figures.usage.seconds);
            let sequence = of(|(_, asked)| asked.in_sequence() as f64);
            rows.push(vec![
                changed.to_string(),
                format!("{latency} ms"),
                number(seconds * 1000.0),
                number((seconds - sequence * latency as f64 / 1000.0) * 1000.0),
                of(|(_, asked)| asked.requests as f64).to_string(),
                of(|(_, asked)| asked.longest_listing as f64).to_string(),
                number(of(|(synced, _)| synced.figures.usage.cpu_seconds) * 1000.0),
                number(of(|(synced, _)| synced.figures.usage.peak_mib)),
            ]);
        }
    }
    table::print(
        &format!("Delta run over {pages} pages in {SPACES} spaces"),
        &[
            "changed",
            "latency",
            "ms",
            "ms beyond latency",
            "requests",
            "most of a space",
            "CPU ms",
            "peak MiB",
        ],
        &rows,
    );
    Ok(())
}

fn copy(bench: &Bench, from: &Path) -> Result<TempDir, Failure> {
    let data = bench.fresh_data()?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = data.path().join(entry.file_name());
        fs::copy(entry.path(), &copy)?;
        // Else the run's own writes would wait for all of these.
        fs::File::open(&copy)?.sync_all()?;
    }
    Ok(data)
}
