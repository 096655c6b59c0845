//! What a request pays at the gate: alone, and with others waiting.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]

// The gate is private to the library, and knows nothing of it.
#[path = "../src/gate.rs"]
#[allow(dead_code, unused_imports, reason = "only a part of it is measured")]
mod gate;

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gate::{Gate, MAXIMUM_IN_FLIGHT};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Turns of one measurement, so that starting the runtime does not count.
const TURNS: u64 = 1000;

/// One thread: what is measured is the gate, not the scheduler.
#[expect(clippy::expect_used, reason = "a benchmark ends at the first surprise")]
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime starts")
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gate");
    group.throughput(Throughput::Elements(TURNS));
    let runtime = runtime();
    group.bench_function("uncontended", |bencher| {
        let gate = Gate::new();
        bencher.iter(|| {
            runtime.block_on(async {
                for _ in 0..TURNS {
                    gate.acquire(1).await.succeeded();
                }
            });
        });
    });
    group.bench_function("8 waiting", |bencher| {
        bencher.iter(|| runtime.block_on(contended()));
    });
    group.finish();
}

/// Twice as many takers as permits, each of a tenant of its own: whoever has a turn is waited for by eight.
async fn contended() {
    let (gate, mut takers) = (Gate::new(), JoinSet::new());
    let count = 2 * MAXIMUM_IN_FLIGHT as u64;
    for tenant in 0..count {
        let gate = Arc::clone(&gate);
        takers.spawn(async move {
            for _ in 0..TURNS / count {
                let permit = gate.acquire(tenant).await;
                tokio::task::yield_now().await;
                permit.succeeded();
            }
        });
    }
    while takers.join_next().await.is_some() {}
}

criterion_group!(gates, benches);
criterion_main!(gates);
