//! Components that loop, allocate, trap and worse: each fails its own call in bounded time, with an error that says
//! why, while another tenant's sync goes on undisturbed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::time::{Duration, Instant};

use confluence_site::Site;
use kai_host::{CallError, ComponentSource, Connector, Host, Limit, Limits, LoadError};

use support::hostile::component;
use support::{Tenant, assert_complete, host, load, registration};

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.cpu = Duration::from_millis(300);
    limits.memory = 64 << 20;
    limits.result = 1 << 20;
    limits
}

async fn loaded(host: &Host, body: &str, items: &str) -> Connector {
    host.load(ComponentSource::Bytes(component(body, items, ""))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_component_fails_its_own_call_in_bounded_time_while_another_tenant_syncs() {
    let site = Site::builder().spaces(3).pages(300).latency(Duration::from_millis(10)).start().await.unwrap();
    site.with_state(|state| state.quirks.page_cap = 25);
    // The real connector gets its usual limits, on a host of its own policy; engine and machine are shared.
    let bad_host = host().limits(limits()).build().unwrap();
    let good_host = host().build().unwrap();
    let tenant = Tenant::on(load(&good_host).await, registration(&site));

    let crashed = |error: &CallError| matches!(error, CallError::Crashed(_));
    let limit = |expected: Limit| move |error: &CallError| matches!(error, CallError::Limit(limit) if *limit == expected);
    type Expected<'a> = Box<dyn Fn(&CallError) -> bool + 'a>;
    let cases: [(&str, &str, &str, Expected<'_>); 6] = [
        ("loops forever", "(loop (br 0))", "", Box::new(limit(Limit::Cpu))),
        (
            "allocates without end",
            "(loop (drop (memory.grow (i32.const 16))) (br 0))",
            "",
            Box::new(limit(Limit::Memory)),
        ),
        ("traps", "", "", Box::new(crashed)),
        (
            "calls itself without end",
            "(call $deeper)",
            "(func $deeper (call $deeper))",
            Box::new(limit(Limit::Stack)),
        ),
        (
            "grows a table without end",
            "(loop (drop (table.grow $bomb (ref.null func) (i32.const 1000))) (br 0))",
            "(table $bomb 0 funcref)",
            Box::new(limit(Limit::TableElements)),
        ),
        (
            // A descriptor whose first text has 2 MiB.
            "gives a huge result",
            "(drop (memory.grow (i32.const 64))) (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 2097152)) (i32.const 0) return",
            "",
            Box::new(limit(Limit::Result)),
        ),
    ];
    let mut bad = Vec::new();
    for (name, body, items, expected) in &cases {
        let connector = loaded(&bad_host, body, items).await;
        bad.push((*name, connector, expected));
    }

    let attack = async {
        for round in 0..3 {
            for (name, connector, expected) in &bad {
                let began = Instant::now();
                let error = connector.describe().await.unwrap_err();
                assert!(expected(&error), "{name}, round {round}: {error:?}");
                assert!(began.elapsed() < Duration::from_secs(20), "{name} took {:?}", began.elapsed());
            }
        }
    };
    let work = async {
        let outcome = tenant.sync().await;
        assert_complete(&outcome);
        assert_eq!((outcome.summary.documents.upserted, outcome.summary.documents.failed), (300, 0));
    };
    tokio::join!(attack, work);
    tenant.assert_equals(&site);
}

#[tokio::test]
async fn a_component_that_asks_for_more_than_a_connector_gets_is_refused_by_name() {
    let host = host().build().unwrap();
    for (import, name) in [
        ("import wasi:filesystem/types@0.2.0;", "wasi:filesystem/types@0.2.0"),
        ("import wasi:sockets/tcp@0.2.0;", "wasi:sockets/tcp@0.2.0"),
    ] {
        let refused = host.load(ComponentSource::Bytes(component("", "", import))).await.unwrap_err();
        let LoadError::ForeignImports(names) = &refused else { panic!("{refused:?}") };
        assert_eq!(names, &[name]);
        assert!(refused.to_string().contains(name));
    }
}

#[tokio::test]
async fn a_file_that_is_no_component_of_this_contract_is_refused_with_a_reason() {
    let host = host().build().unwrap();
    let refused = async |bytes: &[u8]| host.load(ComponentSource::Bytes(bytes.to_vec())).await.unwrap_err();
    assert!(matches!(refused(b"").await, LoadError::NotWasm));
    assert!(matches!(refused(b"#!/bin/sh\necho hello\n").await, LoadError::NotWasm));
    assert!(matches!(refused(b"(component)").await, LoadError::NotWasm));
    assert!(matches!(refused(&wat::parse_str("(module)").unwrap()).await, LoadError::CoreModule));
    let empty = refused(&wat::parse_str("(component)").unwrap()).await;
    assert!(matches!(&empty, LoadError::Contract { .. }), "{empty:?}");
    let good = std::fs::read(support::component()).unwrap();
    let cut = refused(&good[..good.len() / 2]).await;
    assert!(matches!(&cut, LoadError::Invalid(_)), "{cut:?}");
    let missing = host.load(ComponentSource::File("no/such/file.wasm".into())).await.unwrap_err();
    assert!(missing.to_string().contains("no/such/file.wasm"), "{missing}");
}

#[tokio::test]
async fn another_version_of_the_contract_is_refused() {
    let good = std::fs::read(support::component()).unwrap();
    let mut other = good.clone();
    let (old, new) = (b"kai:connector/connector@0.1.0", b"kai:connector/connector@0.9.0");
    let places: Vec<usize> =
        good.windows(old.len()).enumerate().filter(|(_, window)| window == old).map(|(at, _)| at).collect();
    for at in places {
        other[at..at + new.len()].copy_from_slice(new);
    }
    let refused = host().build().unwrap().load(ComponentSource::Bytes(other)).await.unwrap_err();
    assert!(refused.to_string().contains("0.9.0") || matches!(refused, LoadError::Invalid(_)), "{refused}");
}

#[tokio::test]
async fn a_component_that_leaves_with_an_exit_code_has_crashed() {
    let bytes = component("(call @exit (i32.const 0))", "", "import wasi:cli/exit@0.2.0;");
    let host = host().limits(limits()).build().unwrap();
    let error = host.load(ComponentSource::Bytes(bytes)).await.unwrap().describe().await.unwrap_err();
    assert!(matches!(&error, CallError::Crashed(reason) if reason.contains("exit code")), "{error:?}");
}

#[tokio::test]
async fn a_component_that_hoards_handles_is_stopped() {
    let bytes = component("(loop (drop (call @get-stdout)) (br 0))", "", "import wasi:cli/stdout@0.2.0;");
    let host = host().limits(limits()).build().unwrap();
    let error = host.load(ComponentSource::Bytes(bytes)).await.unwrap().describe().await.unwrap_err();
    assert!(matches!(error, CallError::Limit(Limit::Handles)), "{error:?}");
}

#[tokio::test]
async fn a_component_that_floods_its_log_runs_into_its_own_time_and_leaves_little() {
    // 4 KiB a time, without end.
    let body = "(drop (memory.grow (i32.const 1))) (i32.store (i32.const 9000) (call @get-stdout))
                (loop (call @blocking-write-and-flush (i32.load (i32.const 9000)) (i32.const 0) (i32.const 4096) (i32.const 8192)) (br 0))";
    let bytes = component(body, "", "import wasi:io/streams@0.2.0; import wasi:cli/stdout@0.2.0;");
    let host = host().limits(limits()).build().unwrap();
    let error = host.load(ComponentSource::Bytes(bytes)).await.unwrap().describe().await.unwrap_err();
    assert!(matches!(error, CallError::Limit(Limit::Cpu)), "{error:?}");
}

#[tokio::test]
async fn a_component_that_storms_the_host_with_calls_runs_into_its_own_time() {
    let body = "(drop (memory.grow (i32.const 1))) (loop (call @now (i32.const 64)) (br 0))";
    let bytes = component(body, "", "import wasi:clocks/wall-clock@0.2.0;");
    let host = host().limits(limits()).build().unwrap();
    let error = host.load(ComponentSource::Bytes(bytes)).await.unwrap().describe().await.unwrap_err();
    assert!(matches!(error, CallError::Limit(Limit::Cpu)), "{error:?}");
}

#[tokio::test]
async fn a_component_that_writes_headers_without_end_is_stopped() {
    // A name of one letter and a value of 1000, over and over.
    let body = "(drop (memory.grow (i32.const 2))) (memory.fill (i32.const 0) (i32.const 120) (i32.const 4096))
                (i32.store (i32.const 9000) (call @[constructor]fields))
                (loop (call @[method]fields.append (i32.load (i32.const 9000)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1000) (i32.const 8192)) (br 0))";
    let bytes = component(body, "", "import wasi:http/types@0.2.0;");
    let host = host().limits(limits()).build().unwrap();
    let began = Instant::now();
    let error = host.load(ComponentSource::Bytes(bytes)).await.unwrap().describe().await.unwrap_err();
    assert!(matches!(error, CallError::Limit(Limit::Headers)), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
}
