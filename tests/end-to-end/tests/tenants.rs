//! Many tenants in one process: shared gates, live rotation, limits, shutdown, new versions of a component.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::time::{Duration, Instant};

use confluence_site::{Condition, Fault, RetryAfter, Site};
use kai_host::{CallError, ComponentSource, Error, Limit, Limits, RetryPolicy, SourceError};

use support::calls::Calls;
use support::hostile;
use support::{
    Tenant, assert_complete, connector, host, load, registration, registration_at, registration_with,
};

#[tokio::test]
async fn accounts_on_one_site_share_its_gate() {
    let site = Site::builder().spaces(1).pages(50).start().await.unwrap();
    let connector = connector().await;
    let one = connector.session(registration(&site).source).unwrap();
    let mut other = registration(&site).source;
    other.email = "eve@acme.example".to_owned();
    let other = connector.session(other).unwrap();
    site.inject(Fault::RateLimited(RetryAfter::Seconds(1.0)), 1, Condition::Nth(1));
    let began = Instant::now();
    let (first, second) = tokio::join!(one.validate(), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(other.paused_until().is_some());
        other.validate().await
    });
    first.unwrap();
    assert!(matches!(second, Err(CallError::Connector(Error::Authentication(_)))), "{second:?}");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(site.statistics().during_retry_after, 0);
}

#[tokio::test]
async fn a_session_made_after_the_last_one_ended_still_leaves_a_throttled_site_alone() {
    let site = Site::builder().start().await.unwrap();
    let mut retry = RetryPolicy::default();
    retry.longest_wait = Duration::from_secs(1);
    let connector = load(&host().retry(retry).build().unwrap()).await;
    site.inject(Fault::RateLimited(RetryAfter::Seconds(60.0)), 1, Condition::Any);
    for _ in 0..2 {
        // Each session is the only one, and gone when the next is made; other sites come and go in between.
        let session = connector.session(registration(&site).source).unwrap();
        let ended = session.validate().await;
        assert!(matches!(ended, Err(CallError::Connector(Error::RateLimited(Some(_))))), "{ended:?}");
        drop(session);
        let other = Site::builder().start().await.unwrap();
        connector.session(registration(&other).source).unwrap().validate().await.unwrap();
    }
    assert_eq!(site.statistics().requests, 1);
}

#[tokio::test]
async fn a_rotated_token_counts_from_the_next_request_in_every_session_of_the_account() {
    let site = Site::builder().start().await.unwrap();
    let connector = connector().await;
    let session = connector.session(registration(&site).source).unwrap();
    let same_account =
        connector.session(registration_with(&site, serde_json::json!({"space_key": "OPS"})).source).unwrap();
    session.validate().await.unwrap();
    site.with_state(|state| state.set_account(Site::EMAIL, "rotated"));
    assert!(matches!(session.validate().await, Err(CallError::Connector(Error::Authentication(_)))));
    same_account.rotate_token("rotated".into());
    session.validate().await.unwrap();
}

#[tokio::test]
async fn tenants_are_counted_while_they_have_sessions() {
    let host = host().live_tenants(2).build().unwrap();
    let connector = load(&host).await;
    let source =
        |email: &str| registration_at("http://127.0.0.1:9", serde_json::json!({"email": email})).source;
    let first = connector.session(source("a")).unwrap();
    let _second = connector.session(source("b")).unwrap();
    let _again = connector.session(source("a")).unwrap();
    assert_eq!(connector.session(source("c")).unwrap_err(), SourceError::TooManyTenants(2));
    drop((first, _again));
    connector.session(source("c")).unwrap();
}

#[tokio::test]
async fn hosts_that_the_operator_does_not_allow_get_no_session() {
    let host = host().allowed_hosts(["*.atlassian.net"]).build().unwrap();
    let site = Site::builder().start().await.unwrap();
    let refused = load(&host).await.session(registration(&site).source).unwrap_err();
    assert_eq!(refused, SourceError::HostNotAllowed("127.0.0.1".to_owned()));
    assert_eq!(site.statistics().requests, 0);
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused_after_dns() {
    let host = kai_host::Host::builder().build().unwrap();
    let mut source = registration(&Site::builder().start().await.unwrap()).source;
    source.base_url = "https://localhost:4443".to_owned();
    let error = load(&host).await.session(source).unwrap().validate().await.unwrap_err();
    let told = error.to_string();
    assert!(
        matches!(error, CallError::Connector(Error::InvalidSource(_))) && told.contains("private"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_calls_end_and_takes_no_new_ones() {
    let site = Site::builder().latency(Duration::from_millis(300)).start().await.unwrap();
    let host = host().build().unwrap();
    let session = load(&host).await.session(registration(&site).source).unwrap();
    let running = tokio::spawn({
        let session = session.clone();
        async move { session.validate().await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    host.shut_down(Duration::from_secs(20)).await;
    running.await.unwrap().unwrap();
    assert!(matches!(session.validate().await, Err(CallError::ShuttingDown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_calls_that_do_not_end() {
    let site = Site::builder().latency(Duration::from_secs(60)).start().await.unwrap();
    let host = host().build().unwrap();
    let session = load(&host).await.session(registration(&site).source).unwrap();
    let hanging = tokio::spawn(async move { session.validate().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    host.shut_down(Duration::from_millis(200)).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(matches!(hanging.await.unwrap(), Err(CallError::ShuttingDown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_taken_up_by_new_calls_while_running_ones_end_on_the_old() {
    let site = Site::builder().latency(Duration::from_millis(400)).start().await.unwrap();
    let connector = connector().await;
    let session = connector.session(registration(&site).source).unwrap();
    let old = connector.artifact();
    let running = tokio::spawn({
        let session = session.clone();
        async move { session.validate().await }
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    connector.replace(ComponentSource::Bytes(hostile::component("", "", ""))).await.unwrap();
    assert_ne!(connector.artifact().digest, old.digest);
    assert!(matches!(session.validate().await, Err(CallError::Crashed(_))));
    running.await.unwrap().unwrap();
    // A version that cannot be loaded changes nothing.
    let digest = connector.artifact().digest;
    connector.replace(ComponentSource::Bytes(b"nonsense".to_vec())).await.unwrap_err();
    assert_eq!(connector.artifact().digest, digest);
}

#[tokio::test]
async fn a_session_can_have_narrower_limits_than_its_host() {
    let site = Site::builder().latency(Duration::from_millis(500)).start().await.unwrap();
    let mut narrow = Limits::default();
    narrow.wall = Duration::from_millis(100);
    let session = connector().await.session(registration(&site).source).unwrap().with_limits(narrow);
    assert!(matches!(session.validate().await, Err(CallError::Limit(Limit::Wall))));
}

// On one thread, which is the one that has the recorder.
#[tokio::test]
async fn calls_are_counted_by_how_they_ended_whether_host_or_connector_ended_them() {
    let calls = Calls::default();
    let _recorder = metrics::set_default_local_recorder(&calls);
    let site = Site::builder().start().await.unwrap();
    let session = connector().await.session(registration(&site).source).unwrap();
    session.validate().await.unwrap();
    session.fetch("1".to_owned()).await.unwrap_err();
    let mut narrow = Limits::default();
    narrow.memory = 1 << 16;
    session.with_limits(narrow).validate().await.unwrap_err();
    let expected = [("error", 1), ("limit", 1), ("ok", 1)].map(|(outcome, n)| (outcome.to_owned(), n));
    assert_eq!(calls.by_outcome(), expected.into());
}

#[tokio::test]
async fn waiting_for_a_retry_after_does_not_count_as_running_time() {
    let site = Site::builder().start().await.unwrap();
    site.inject(Fault::RateLimited(RetryAfter::Seconds(1.5)), 1, Condition::Any);
    let mut narrow = Limits::default();
    narrow.wall = Duration::from_secs(1);
    let session = connector().await.session(registration(&site).source).unwrap().with_limits(narrow);
    session.validate().await.unwrap();
}

#[tokio::test]
async fn dropping_a_call_frees_its_place() {
    let site = Site::builder().latency(Duration::from_secs(60)).start().await.unwrap();
    let connector = connector().await;
    let session = connector.session(registration(&site).source).unwrap();
    for _ in 0..3 {
        let calls = (0..8).map(|_| tokio::time::timeout(Duration::from_millis(100), session.validate()));
        assert!(futures::future::join_all(calls).await.iter().all(Result::is_err));
    }
    site.set_latency(Duration::ZERO);
    tokio::time::timeout(Duration::from_secs(10), session.validate()).await.unwrap().unwrap();
}

#[tokio::test]
async fn no_call_sees_what_another_left_behind() {
    // Traps if a global or the memory is not as the component was loaded.
    let body = "(if (global.get $touched) (then unreachable)) (global.set $touched (i32.const 1))
                (if (i32.load (i32.const 70000)) (then unreachable)) (i32.store (i32.const 70000) (i32.const 1))
                (i32.const 0) return";
    let items = "(global $touched (mut i32) (i32.const 0))";
    let bytes = hostile::component(&format!("(drop (memory.grow (i32.const 2))) {body}"), items, "");
    for pooled in [None, Some(4)] {
        let mut builder = host();
        if let Some(instances) = pooled {
            builder = builder.pooled_instances(instances);
        }
        let connector = builder.build().unwrap().load(ComponentSource::Bytes(bytes.clone())).await.unwrap();
        for _ in 0..20 {
            connector.describe().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_is_busy_and_no_fault_of_the_tenant() {
    let site = Site::builder().latency(Duration::from_millis(300)).start().await.unwrap();
    let connector = load(&host().pooled_instances(2).build().unwrap()).await;
    let session = connector.session(registration(&site).source).unwrap();
    let calls = futures::future::join_all((0..4).map(|_| session.validate())).await;
    assert!(calls.iter().any(|result| matches!(result, Err(CallError::Busy))), "{calls:?}");
    assert!(calls.iter().filter(|result| result.is_ok()).count() >= 2, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_tenants_sync_as_if_alone_while_others_attack() {
    const TENANTS: usize = 50;
    let mut narrow = Limits::default();
    narrow.cpu = Duration::from_millis(200);
    narrow.memory = 32 << 20;
    let connector = load(&host().build().unwrap()).await;
    let attackers = [
        hostile::component("(loop (br 0))", "", ""),
        hostile::component("(loop (drop (memory.grow (i32.const 16))) (br 0))", "", ""),
        hostile::component("", "", ""),
    ];
    let attack_host = host().limits(narrow).build().unwrap();
    let mut bad = Vec::new();
    for bytes in attackers {
        bad.push(attack_host.load(ComponentSource::Bytes(bytes)).await.unwrap());
    }
    let attack = tokio::spawn(async move {
        loop {
            for connector in &bad {
                connector.describe().await.unwrap_err();
            }
        }
    });
    let mut tenants = Vec::new();
    for seed in 0..TENANTS as u64 {
        let site = Site::builder().seed(seed).spaces(2).pages(20).start().await.unwrap();
        let tenant = Tenant::on(connector.clone(), registration(&site));
        tenants.push((site, tenant));
    }
    let syncs = tenants.iter().map(|(site, tenant)| async move {
        assert_complete(&tenant.sync().await);
        tenant.assert_equals(site);
    });
    futures::future::join_all(syncs).await;
    attack.abort();
}
