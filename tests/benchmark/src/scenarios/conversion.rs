//! Storage format to Markdown.

use crate::Failure;
use crate::scenarios::Bench;
use crate::site_process::Content;
use crate::table::{self, number};
use crate::tasks::{ConversionFigures, KindFigures};

pub(crate) async fn run(bench: &Bench) -> Result<(), Failure> {
    let sizes: &[(usize, usize)] =
        if bench.short { &[(15_000, 100)] } else { &[(15_000, 1000), (200_000, 75), (5_000_000, 3)] };
    let (mut rows, mut parser_rows) = (Vec::new(), Vec::new());
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
        let ConversionFigures {
            bytes,
            events,
            native,
            calls,
            batches,
            component_events,
            component_loop,
            ready_batches,
        } = figures;
        let beside = |value: f64| format!("{} ({:.2})", number(value), value / native);
        let name = format!("{pages} of {} KB ({:.1} MB)", page_bytes / 1000, bytes as f64 / 1e6);
        parser_rows.push(vec![
            name.clone(),
            number(component_loop),
            format!("{:.2}", batches / component_loop),
            number(component_events),
            format!("{:.2}", calls / component_events),
            number(ready_batches),
        ]);
        rows.push(vec![name, number(native), beside(calls), beside(batches), beside(events)]);
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
    table::print(
        "The same in a component with next to nothing in it: MB of storage format per CPU second",
        &[
            "pages",
            "quick-xml events",
            "our batches / that",
            "quick-xml events, a page a call",
            "our page a call / that",
            "ready documents, batches",
        ],
        &parser_rows,
    );
    kinds(bench).await
}

/// Pages of several kinds, beside those that are most like a usual page of their size.
async fn kinds(bench: &Bench) -> Result<(), Failure> {
    let figures: Vec<KindFigures> =
        bench.task(&["measure-kinds", &bench.rounds.to_string(), &bench.cache_argument()]).await?;
    let large = figures.iter().find(|kind| kind.name == "large").map_or(1.0, |kind| kind.calls);
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|KindFigures { name, bytes, native, calls }| {
            vec![
                format!("{name} ({:.1} MB)", *bytes as f64 / 1e6),
                number(*native),
                number(*calls),
                format!("{:.2}", calls / native),
                format!("{:.2}", calls / large),
            ]
        })
        .collect();
    table::print(
        "Conversion of several kinds of pages: MB of storage format per CPU second",
        &["pages", "native", "component, a page a call", "ratio", "ratio to large"],
        &rows,
    );
    Ok(())
}
