//! Storage format to Markdown.

use crate::Failure;
use crate::scenarios::Bench;
use crate::site_process::Content;
use crate::table::{self, number};
use crate::tasks::ConversionFigures;

pub(crate) async fn run(bench: &Bench) -> Result<(), Failure> {
    let sizes: &[(usize, usize)] =
        if bench.short { &[(15_000, 100)] } else { &[(15_000, 1000), (200_000, 75), (5_000_000, 3)] };
    let mut rows = Vec::new();
    for &(page_bytes, pages) in sizes {
        // Links name pages of spaces: the same spaces here and natively.
        let site = bench.site(Content { spaces: 3, pages, page_bytes }).await?;
        let figures: ConversionFigures = bench
            .task(&[
                "measure-conversion",
                &site.base_url,
                &page_bytes.to_string(),
                &pages.to_string(),
                &bench.rounds.to_string(),
                &bench.cache_argument(),
            ])
            .await?;
        let ConversionFigures { bytes, events, native, calls, batches } = figures;
        let beside = |value: f64| format!("{} ({:.2})", number(value), value / native);
        rows.push(vec![
            format!("{pages} of {} KB ({:.1} MB)", page_bytes / 1000, bytes as f64 / 1e6),
            number(native),
            beside(calls),
            beside(batches),
            beside(events),
        ]);
    }
    table::print(
        "Conversion: MB of storage format per CPU second (ratio to ours, native)",
        &[
            "pages",
            "native",
            "component, a page a call",
            "component, batches with HTTP and JSON",
            "quick-xml events, native",
        ],
        &rows,
    );
    Ok(())
}
