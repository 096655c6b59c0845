//! Fresh instances, and tenants that do nothing.

use crate::Failure;
use crate::scenarios::Bench;
use crate::site_process::Content;
use crate::table::{self, median, number};
use crate::tasks::InstanceFigures;

pub(crate) async fn run(bench: &Bench) -> Result<(), Failure> {
    let (tenants, calls) = if bench.short { (100, 2_000) } else { (1000, 20_000) };
    let site = bench.site(Content { spaces: 1, pages: 1, page_bytes: 1000 }).await?;
    let mut all: Vec<InstanceFigures> = Vec::new();
    for _ in 0..bench.rounds {
        let arguments = [
            "measure-instances",
            &site.base_url,
            &tenants.to_string(),
            &calls.to_string(),
            &bench.cache_argument(),
        ];
        all.push(bench.task(&arguments).await?);
    }
    let of = |value: fn(&InstanceFigures) -> f64| number(median(all.iter().map(value)));
    let row = |name: String, value: String| vec![name, value];
    table::print(
        "Instances and tenants",
        &["", "median"],
        &[
            row("a fresh instance called and dropped, pooled".to_owned(), format!("{} us", of(|f| f.pooled))),
            row("the same, 99th percentile".to_owned(), format!("{} us", of(|f| f.pooled_p99))),
            row("the same, memory of its own each".to_owned(), format!("{} us", of(|f| f.on_demand))),
            row(format!("pooled, beside {tenants} idle tenants"), format!("{} us", of(|f| f.beside_idle))),
            row(format!("memory of each of {tenants} sessions"), format!("{} KiB", of(|f| f.session_kib))),
            row(
                "memory of each after a call, its connection kept".to_owned(),
                format!("{} KiB", of(|f| f.used_kib)),
            ),
        ],
    );
    Ok(())
}
