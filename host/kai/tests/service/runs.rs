//! Runs: asked for, followed, stopped, confirmed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use confluence_site::{Condition, Fault, RetryAfter, Site};
use serde_json::{Value, json};

use crate::client::{Client, Service};

async fn site(pages: usize) -> Site {
    let site = Site::builder().spaces(3).pages(pages).page_bytes(300).start().await.unwrap();
    site.with_state(|state| state.quirks.page_cap = 10);
    site
}

async fn running(client: &Client, path: &str) {
    client.until(path, |run| run["state"] == "running").await;
}

#[tokio::test]
async fn a_run_reads_everything_or_what_changed() {
    let (site, service) = (site(30).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    let runs = format!("/api/v1/sources/{id}/runs");
    let begun = client.post(&runs, &json!({"mode": "full"})).await;
    let run = begun.expect(202);
    assert_eq!(begun.header("location"), format!("{runs}/{}", run["id"].as_str().unwrap()));
    assert_eq!((&run["mode"], &run["confirm_removals"]), (&json!("full"), &json!(false)));
    let run = client.ended(&id, run["id"].as_str().unwrap()).await;
    assert_eq!(
        (&run["state"], &run["documents"], &run["problem"]),
        (&json!("completed"), &json!(30), &Value::Null)
    );
    assert_eq!(run["summary"]["documents"]["upserted"], 30);
    for (before, after) in [("queued_at", "started_at"), ("started_at", "ended_at")] {
        let at = |field: &str| DateTime::parse_from_rfc3339(run[field].as_str().unwrap()).unwrap();
        assert!(at(before) <= at(after) && at(after) <= Utc::now(), "{run}");
    }

    site.with_state(|state| {
        let page = state.visible_pages()[0].id.clone();
        assert!(state.edit(&page, None));
    });
    // By default it is a delta.
    let delta = client.post(&runs, &json!({})).await.expect(202);
    assert_eq!(delta["mode"], "delta");
    let delta = client.ended(&id, delta["id"].as_str().unwrap()).await;
    assert_eq!(
        (&delta["summary"]["mode"], &delta["summary"]["documents"]["upserted"]),
        (&json!("delta"), &json!(1))
    );
    client.post(&runs, &json!({"mode": "half"})).await.problem(422, "invalid-request");
    client.post(&runs, &json!({"confirm_removals": true})).await.problem(422, "invalid-request");

    // The newest first, page by page.
    let third = client.sync(&id, "delta").await;
    let page = client.get(&format!("{runs}?limit=2")).await.expect(200);
    assert_eq!((&page["runs"][0]["id"], &page["runs"][1]), (&third["id"], &delta));
    let next = page["next"].as_str().unwrap();
    let page = client.get(&format!("{runs}?limit=2&before={next}")).await.expect(200);
    assert_eq!(page, json!({"runs": [run], "next": null}));
    client.get(&format!("{runs}?limit=0")).await.problem(400, "invalid-request");
    client.get(&format!("{runs}/unknown")).await.problem(404, "not-found");
}

#[tokio::test]
async fn of_a_source_one_run_is_under_way_and_one_may_wait_and_both_can_be_stopped() {
    let (site, service) = (site(60).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    site.set_latency(Duration::from_millis(500));
    let runs = format!("/api/v1/sources/{id}/runs");
    let first = client.begin(&id, "full").await;
    running(&client, &format!("{runs}/{first}")).await;
    let second = client.begin(&id, "delta").await;
    assert!(client.post(&runs, &json!({})).await.problem(409, "conflict").contains(&second));

    let cancelled = client.post(&format!("{runs}/{second}/cancel"), &Value::Null).await.expect(202);
    assert_eq!(cancelled["state"], "cancelled");
    client.post(&format!("{runs}/{second}/cancel"), &Value::Null).await.problem(409, "conflict");
    // There is room again.
    let third = client.begin(&id, "delta").await;
    client.post(&format!("{runs}/{first}/cancel"), &Value::Null).await.expect(202);
    let cancelled = client.ended(&id, &first).await;
    assert_eq!((&cancelled["state"], &cancelled["problem"]), (&json!("cancelled"), &Value::Null));
    // Its turn comes, and it goes on where the one before stopped.
    site.set_latency(Duration::ZERO);
    let run = client.ended(&id, &third).await;
    assert_eq!((&run["state"], &run["documents"]), (&json!("completed"), &json!(60)), "{run}");
    client.post(&format!("{runs}/{third}/cancel"), &Value::Null).await.problem(409, "conflict");
}

#[tokio::test]
async fn a_run_is_followed_to_its_end() {
    let (site, service) = (site(120).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    site.set_latency(Duration::from_millis(60));
    let run = client.begin(&id, "full").await;
    let path = format!("/api/v1/sources/{id}/runs/{run}/events");
    let mut events = client.events(&path, None).await.rest().await;
    let end = events.pop().unwrap();
    assert_eq!(
        (end.name.as_str(), &end.data["state"], &end.data["documents"]),
        ("end", &json!("completed"), &json!(120))
    );
    assert_eq!(end.data, client.get(path.strip_suffix("/events").unwrap()).await.expect(200));
    assert!(events.len() > 2 && events.iter().all(|event| event.name == "progress"), "{events:?}");
    let upserted: Vec<_> =
        events.iter().map(|event| event.data["documents"]["upserted"].as_u64().unwrap()).collect();
    assert!(upserted.is_sorted() && upserted.iter().any(|count| (1..120).contains(count)), "{upserted:?}");
    let last = &events.last().unwrap().data;
    assert_eq!((&last["mode"], &last["spaces"]), (&json!("full"), &json!(3)), "{last}");
    assert!(events.iter().any(|event| event.data["pages_per_second"].as_f64() > Some(0.0)));
    // Whoever comes too late is told how it ended.
    assert_eq!(client.events(&path, None).await.rest().await, [end]);
}

#[tokio::test]
async fn that_confluence_asked_to_be_left_alone_is_shown() {
    let (site, service) = (site(60).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    site.inject(Fault::RateLimited(RetryAfter::Seconds(3.0)), 1, Condition::WithBodies);
    let run = client.begin(&id, "full").await;
    let mut events = client.events(&format!("/api/v1/sources/{id}/runs/{run}/events"), None).await;
    let (mut paused, mut last) = (None, Value::Null);
    while let Some(event) = events.next().await {
        if let Some(until) = event.data["paused_until"].as_str() {
            paused.get_or_insert(
                (DateTime::parse_from_rfc3339(until).unwrap().to_utc() - Utc::now()).num_seconds(),
            );
        } else if event.name == "progress" {
            last = event.data;
        }
    }
    assert!((0..=4).contains(&paused.unwrap()), "{paused:?}");
    assert_eq!(last["paused_until"], Value::Null, "it went on");
    assert_eq!(client.count("").await, 60);
}

#[tokio::test]
async fn removals_that_a_run_refused_are_made_when_they_are_confirmed() {
    let (site, service) = (site(60).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    let runs = format!("/api/v1/sources/{id}/runs");
    let before = client.sync(&id, "full").await;
    let confirm = |run: &Value| format!("{runs}/{}/confirm-removals", run["id"].as_str().unwrap());
    client.post(&confirm(&before), &Value::Null).await.problem(409, "conflict");
    site.with_state(|state| {
        for page in state.visible_pages().into_iter().take(40) {
            assert!(state.purge(&page.id));
        }
    });
    let refused = client.sync(&id, "full").await;
    assert_eq!(refused["problem"]["kind"], "removals-refused");
    let detail = refused["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("40 of 60") && !detail.contains("--"), "{detail}");
    assert_eq!(client.count("").await, 60);
    let run = client.post(&confirm(&refused), &Value::Null).await.expect(202);
    assert_eq!((&run["mode"], &run["confirm_removals"]), (&json!("full"), &json!(true)));
    let run = client.ended(&id, run["id"].as_str().unwrap()).await;
    assert_eq!((&run["summary"]["documents"]["removed"], &run["documents"]), (&json!(40), &json!(20)));
    assert_eq!(client.count("").await, 20);
}

#[tokio::test]
async fn a_run_that_was_under_way_when_the_service_ended_goes_on_with_the_next() {
    let (site, service) = (site(120).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    site.set_latency(Duration::from_millis(100));
    let run = client.begin(&id, "full").await;
    client.until("/api/v1/documents/count", |count| count["count"].as_u64() > Some(0)).await;
    let service = service.restart(|_| {}).await;
    site.set_latency(Duration::ZERO);
    let client = service.administration();
    assert_eq!(client.ended(&id, &run).await["state"], "interrupted");
    let runs = client.get(&format!("/api/v1/sources/{id}/runs")).await.expect(200);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2, "{runs}");
    let run = client.ended(&id, runs["runs"][0]["id"].as_str().unwrap()).await;
    assert_eq!((&run["state"], &run["documents"]), (&json!("completed"), &json!(120)));
}
