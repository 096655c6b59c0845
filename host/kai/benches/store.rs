//! The SQLite store: batches of documents written, references compared, documents read back.

#![expect(clippy::expect_used, reason = "a benchmark ends at the first surprise")]
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;

use confluence_site::Site;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kai::store::{Checkpoint, Filter, Progress, Run, SourceRecord, SqliteStore, Store as _, Write};
use kai_host::{Document, Metadata, Partition, Reference};
use tempfile::TempDir;

const SOURCE: &str = "3f9c01d2ab44";
const BATCH: usize = 100;
const STRETCH: usize = 250;
const DOCUMENT_BYTES: usize = 12_000;

struct Opened {
    store: SqliteStore,
    run: Run,
    _directory: TempDir,
}

fn open() -> Opened {
    let directory = tempfile::tempdir().expect("there is room");
    let mut store = SqliteStore::open(directory.path()).expect("a new store opens");
    let source = SourceRecord {
        id: SOURCE.into(),
        kind: "CONFLUENCE".into(),
        base_url: "https://acme.atlassian.net".into(),
        email: "ada@acme.example".into(),
        scope: None,
    };
    store.register(&source).expect("a source is registered");
    let run = store.begin_run(SOURCE, true).expect("a run begins");
    Opened { store, run, _directory: directory }
}

fn space() -> Partition {
    Partition { id: "65538".into(), key: "ENG".into(), name: "Engineering".into() }
}

fn goes_on() -> Progress {
    Progress::Continues(Checkpoint { cursor: "x".repeat(300), since: None })
}

/// Texts that compress as pages do.
fn texts(count: usize) -> Vec<String> {
    let site = Site::builder().pages(count).page_bytes(DOCUMENT_BYTES).content();
    site.visible_pages().into_iter().map(|page| page.storage).collect()
}

fn reference(number: usize) -> Reference {
    Reference {
        id: (100_000 + number * 131).to_string(),
        title: format!("Payments Migration Runbook {number}"),
        modified_at: "2026-01-31T12:00:00.000Z".into(),
        metadata: Metadata {
            web_url: format!("https://acme.atlassian.net/wiki/spaces/ENG/pages/{number}/Payments+Migration"),
            space_key: "ENG".into(),
            version_number: 3,
            created_at: Some("2026-01-01T12:00:00.000Z".into()),
            created_by_display_name: None,
        },
    }
}

fn documents(from: usize, texts: &[String]) -> Vec<Write> {
    let documents = texts.iter().enumerate().map(|(number, content)| Document {
        reference: reference(from + number),
        mime_type: "text/markdown".into(),
        content: content.clone(),
    });
    documents.map(Write::Document).collect()
}

fn commit(opened: &mut Opened, writes: &[Write]) {
    opened.store.commit(SOURCE, opened.run, &space(), writes, &goes_on()).expect("a batch is written");
}

fn benches(criterion: &mut Criterion) {
    let texts = texts(1000);
    let mut group = criterion.benchmark_group("store");
    group.sample_size(30);

    let batch = texts.get(..BATCH).expect("there are as many");
    group.throughput(Throughput::Bytes(batch.iter().map(String::len).sum::<usize>() as u64));
    let (mut opened, mut next) = (open(), 0);
    group.bench_function("commit 100 new documents of 12 KB", |bencher| {
        bencher.iter_batched(
            || {
                next += BATCH;
                documents(next, batch)
            },
            |writes| commit(&mut opened, &writes),
            BatchSize::PerIteration,
        );
    });

    let mut opened = open();
    commit(&mut opened, &documents(0, &texts));
    let unchanged: Vec<Write> = (0..STRETCH).map(|number| Write::Unchanged(reference(number))).collect();
    let ids: Vec<String> = (0..STRETCH).map(|number| reference(number).id).collect();
    group.throughput(Throughput::Elements(STRETCH as u64));
    group.bench_function("refresh 250 unchanged references", |bencher| {
        bencher.iter(|| {
            let versions = opened.store.versions(SOURCE, &ids).expect("versions are read");
            assert_eq!(versions.len(), STRETCH);
            commit(&mut opened, &unchanged);
        });
    });

    group.throughput(Throughput::Bytes(texts.iter().map(String::len).sum::<usize>() as u64));
    group.bench_function("read 1000 documents back", |bencher| {
        bencher.iter(|| {
            let each = |document| {
                black_box(document);
                true
            };
            opened.store.documents(&Filter::default(), each).expect("documents are read");
        });
    });
    group.finish();
}

criterion_group!(stores, benches);
criterion_main!(stores);
