//! The real component in the real host, in bytes of storage format: a page a call, and batches of a listing, whose
//! documents all go from the guest to the host. Beside the same pages converted natively, so that the difference is
//! what the sandbox, HTTP, JSON and the way between guest and host take.
//!
//! `KAI_COMPONENT` names the component, as `make bench` does.

#![expect(clippy::expect_used, reason = "a benchmark ends at the first surprise")]
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

mod canned;

use std::hint::black_box;
use std::path::PathBuf;

use confluence_connector::markdown::{self, Page};
use confluence_site::Site;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kai_host::{
    Batch, Carry, ComponentSource, Connector, Cursor, Host, Partition, Session, Source, StoragePage,
};
use tokio::runtime::Runtime;

const BASE_URL: &str = "https://example.atlassian.net";

fn connector(runtime: &Runtime) -> Connector {
    let component = std::env::var_os("KAI_COMPONENT").map(PathBuf::from);
    let component = component.expect("KAI_COMPONENT names the component: `make bench` does that");
    let host = Host::builder().allow_local(true).pooled_instances(8).build().expect("a host starts");
    runtime.block_on(host.load(ComponentSource::File(component))).expect("the component loads")
}

fn convert_natively(storage: &str) -> usize {
    let page = Page { id: "1", title: "Title", space_key: "ENG", base_url: BASE_URL, storage };
    markdown::convert(&page).text.len()
}

async fn convert(connector: &Connector, storage: &str) -> usize {
    let page = StoragePage {
        id: "1".into(),
        title: "Title".into(),
        space_key: "ENG".into(),
        base_url: BASE_URL.into(),
        storage: storage.into(),
    };
    connector.convert(page).await.expect("a generated page is converted").markdown.len()
}

fn calls(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let connector = connector(&runtime);
    for (name, pages, page_bytes) in [("15 KB", 50, 15_000), ("200 KB", 4, 200_000), ("5 MB", 1, 5_000_000)] {
        let content = canned::content(pages, page_bytes).visible_pages();
        let pages: Vec<String> = content.into_iter().map(|page| page.storage).collect();
        let mut group = criterion.benchmark_group(format!("a page a call, {name}"));
        group.throughput(Throughput::Bytes(pages.iter().map(String::len).sum::<usize>() as u64));
        group.bench_function("native", |bencher| {
            bencher.iter(|| pages.iter().map(|page| convert_natively(black_box(page))).sum::<usize>());
        });
        group.bench_function("component", |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    for page in &pages {
                        black_box(convert(&connector, page).await);
                    }
                });
            });
        });
        group.finish();
    }
    criterion.bench_function("a fresh instance, called and dropped", |bencher| {
        bencher.iter(|| runtime.block_on(connector.describe()).expect("it says what it is"));
    });
}

/// Second stretches of a listing, which have grown to what batches grow to.
fn batches(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let connector = connector(&runtime);
    let content = canned::content(600, 12_000);
    let pages: Vec<String> = content.visible_pages().into_iter().map(|page| page.storage).collect();
    let base_url = canned::serve(content).expect("there is a port");
    let session = connector
        .session(Source {
            kind: "CONFLUENCE".into(),
            base_url,
            email: Site::EMAIL.into(),
            api_token: Site::TOKEN.into(),
            space_key: None,
            cloud_id: None,
        })
        .expect("loopback is allowed");
    let spaces = runtime.block_on(session.list_partitions(None, None)).expect("spaces are listed").items;
    let space = spaces.first().expect("there is a space");
    let first = runtime.block_on(discover(&session, space, Carry::Documents, None));
    let batch = runtime.block_on(discover(&session, space, Carry::Documents, first.next.clone()));
    let read = pages.get(first.changes.len()..).and_then(|rest| rest.get(..batch.changes.len()));
    let read = read.expect("a listing is by id, as the pages are");

    let mut group = criterion.benchmark_group(format!("a batch of {} pages of 12 KB", read.len()));
    group.sample_size(20);
    group.throughput(Throughput::Bytes(read.iter().map(String::len).sum::<usize>() as u64));
    group.bench_function("native", |bencher| {
        bencher.iter(|| read.iter().map(|page| convert_natively(black_box(page))).sum::<usize>());
    });
    for (name, carry) in [("discover", Carry::Documents), ("discover, references only", Carry::References)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(discover(&session, space, carry, first.next.clone())));
        });
    }
    group.finish();
}

async fn discover(session: &Session, space: &Partition, carry: Carry, cursor: Option<Cursor>) -> Batch {
    session.discover(space.clone(), None, carry, cursor).await.expect("a page of the listing comes")
}

criterion_group!(components, calls, batches);
criterion_main!(components);
