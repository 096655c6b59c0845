//! What an operator sees: counters and histograms through the `metrics` facade, spans through `tracing`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;

use confluence_site::{Condition, Fault, RetryAfter, Site};
use kai_host::{CallError, ComponentSource, Limits};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use support::log::Log;
use support::{Tenant, assert_complete, connector, host, hostile, registration};

/// Name with labels, to what was counted or how often it was recorded.
fn counted(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let mut counted = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(level) => level.into_inner(),
            DebugValue::Histogram(values) => values.len() as f64,
        };
        counted.insert(format!("{} {}", key.name(), labels.join(",")).trim_end().to_owned(), value);
    }
    counted
}

/// One test, because recorder and subscriber are a process's.
#[tokio::test]
async fn requests_retries_throttling_calls_limits_and_memory_are_counted_and_spans_tell_whose_they_are() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let log = Log::install("kai_host=debug");

    let site = Site::builder().spaces(1).pages(30).start().await.unwrap();
    site.inject(Fault::Status(502), 1, Condition::Nth(2));
    site.inject(Fault::RateLimited(RetryAfter::Seconds(0.2)), 1, Condition::Nth(3));
    let tenant = Tenant::on(connector().await, registration(&site));
    let outcome = tenant.sync().await;
    assert_complete(&outcome);
    let mut narrow = Limits::default();
    narrow.memory = 1 << 20;
    let hungry = hostile::component("(loop (drop (memory.grow (i32.const 16))) (br 0))", "", "");
    let bad = host().limits(narrow).build().unwrap().load(ComponentSource::Bytes(hungry)).await.unwrap();
    assert!(matches!(bad.describe().await, Err(CallError::Limit(_))));

    let counted = counted(&snapshotter);
    let value =
        |name: &str| counted.get(name).copied().unwrap_or_else(|| panic!("{name} is not in {counted:?}"));
    let http = outcome.summary.http;
    assert_eq!(value("kai_http_requests_total status=502"), 1.0);
    assert_eq!(value("kai_http_requests_total status=429"), 1.0);
    assert_eq!(value("kai_http_requests_total status=200"), (http.requests - 2) as f64);
    assert_eq!(value("kai_http_retries_total"), 2.0);
    assert_eq!(value("kai_http_throttled_total"), 1.0);
    assert_eq!(value("kai_http_throttled_seconds"), 1.0);
    assert_eq!(value("kai_http_requests_in_flight"), 0.0);
    assert!(value("kai_call_seconds call=discover,outcome=ok") >= 1.0);
    assert_eq!(value("kai_call_seconds call=describe,outcome=limit"), 1.0);
    assert_eq!(value("kai_limits_hit_total limit=memory"), 1.0);
    assert!(value("kai_guest_memory_bytes") >= 3.0);
    // Whoever it is about is told by a number, not by a name.
    assert!(counted.keys().all(|name| !name.contains(Site::EMAIL) && !name.contains("127.0.0.1")));

    let log = log.text();
    let throttled = log.lines().find(|line| line.contains("throttled by the site")).expect("a line");
    for part in ["call{id=", "name=\"discover\"", "tenant=0", "request{id=", "path=\"/wiki/api/v2/spaces/"] {
        assert!(throttled.contains(part), "{part} is not in {throttled}");
    }
    assert!(!log.contains(Site::TOKEN) && !log.contains("Basic "));
}
