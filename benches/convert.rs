//! How fast pages become Markdown, in bytes of storage format, on one thread.
//!
//! `floor` reads the same bytes with a bare loop over the events of quick-xml: what any converter that parses spends
//! before it has written anything. `cargo bench -p confluence-connector --bench convert`.

#![expect(clippy::panic, reason = "a benchmark ends at the first surprise")]
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

mod conversion;
mod pages;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use conversion::{events, markdown};

fn converted(storage: &str) -> usize {
    markdown(storage).len()
}

fn floor(storage: &str) -> usize {
    events(storage).unwrap_or_else(|error| panic!("a generated page is well-formed: {error}"))
}

fn benches(criterion: &mut Criterion) {
    for pages in pages::all() {
        let mut group = criterion.benchmark_group(pages.name);
        let bytes: usize = pages.storage.iter().map(String::len).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        for (name, read) in [("convert", converted as fn(&str) -> usize), ("floor", floor)] {
            group.bench_function(name, |bencher| {
                bencher.iter(|| pages.storage.iter().map(|page| read(black_box(page))).sum::<usize>());
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = convert_pages;
    config = Criterion::default().sample_size(20);
    targets = benches
}
criterion_main!(convert_pages);
