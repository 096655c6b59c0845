//! First runs of ever more pages: what should be the same a page, whatever their number.

use std::fs;

use crate::Failure;
use crate::plot::{self, Panel, Series};
use crate::scenarios::{Bench, Synced};
use crate::site_process::{Content, SiteProcess};
use crate::table::{self, median, number};

const SPACES: usize = 3;
/// Medians of more runs would take the largest of them an hour.
const MOST_ROUNDS: usize = 3;

struct Size {
    pages: usize,
    site: SiteProcess,
    runs: Vec<Synced>,
}

impl Size {
    fn of(&self, value: fn(&Synced) -> f64) -> f64 {
        median(self.runs.iter().map(value))
    }

    fn a_page(&self, value: fn(&Synced) -> f64) -> f64 {
        self.of(value) / self.pages as f64
    }
}

pub(crate) async fn run(bench: &Bench) -> Result<(), Failure> {
    let sizes: [(usize, &[usize]); 2] = if bench.short {
        [(2000, &[300, 1000, 3000]), (15_000, &[300, 1000])]
    } else {
        [(2000, &[1000, 3000, 10_000, 30_000, 100_000]), (15_000, &[1000, 3000, 10_000, 30_000])]
    };
    let mut measured = Vec::new();
    for (page_bytes, counts) in sizes {
        let mut all = Vec::new();
        for &pages in counts {
            let site = bench.site(Content { spaces: SPACES, pages, page_bytes }).await?;
            all.push(Size { pages, site, runs: Vec::new() });
        }
        for _ in 0..bench.rounds.min(MOST_ROUNDS) {
            for size in &mut all {
                eprintln!("{} pages", size.pages);
                let synced = bench.first_sync(&size.site, size.pages).await?;
                size.runs.push(synced);
            }
        }
        show(page_bytes, &all);
        measured.push((format!("pages of {} KB", page_bytes / 1000), all));
    }
    if let Some(path) = &bench.plot {
        fs::write(path, plot::svg(&panels(&measured), "pages"))?;
        println!("The plot is in {}.\n", path.display());
    }
    Ok(())
}

const KIB: f64 = 1024.0;

fn show(page_bytes: usize, sizes: &[Size]) {
    let rows: Vec<Vec<String>> = sizes
        .iter()
        .map(|size| {
            let seconds = size.of(|run| run.figures.usage.seconds);
            vec![
                size.pages.to_string(),
                number(seconds),
                number(size.pages as f64 / seconds),
                number(size.a_page(|run| run.figures.usage.cpu_seconds * 1000.0)),
                number(size.of(|run| run.figures.usage.peak_mib)),
                number(size.a_page(|run| run.database_bytes as f64 / KIB)),
                number(size.a_page(|run| run.figures.usage.written as f64 / KIB)),
            ]
        })
        .collect();
    table::print(
        &format!("Scale: first syncs of pages of {} KB, {SPACES} spaces, no latency", page_bytes / 1000),
        &[
            "pages",
            "seconds",
            "pages/s",
            "CPU ms a page",
            "peak MiB",
            "database KiB a page",
            "written KiB a page",
        ],
        &rows,
    );
}

fn panels(measured: &[(String, Vec<Size>)]) -> Vec<Panel> {
    let panel = |title: &str, value: fn(&Size) -> f64| Panel {
        title: title.to_owned(),
        series: measured
            .iter()
            .map(|(name, sizes)| Series {
                name: name.clone(),
                points: sizes.iter().map(|size| (size.pages as f64, value(size))).collect(),
            })
            .collect(),
    };
    vec![
        panel("Pages a second", |size| size.pages as f64 / size.of(|run| run.figures.usage.seconds)),
        panel("Peak memory, MiB", |size| size.of(|run| run.figures.usage.peak_mib)),
        panel("CPU, ms a page", |size| size.a_page(|run| run.figures.usage.cpu_seconds * 1000.0)),
        panel("Written, KiB a page", |size| size.a_page(|run| run.figures.usage.written as f64 / KIB)),
    ]
}
