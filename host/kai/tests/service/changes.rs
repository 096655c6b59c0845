//! The feed of changes, asked for, waited for and streamed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use confluence_site::Site;
use serde_json::{Value, json};

use crate::client::{Client, Event, Service};

async fn scene(pages: usize) -> (Site, Service, Client, String) {
    let site = Site::builder().spaces(3).pages(pages).page_bytes(300).start().await.unwrap();
    let service = Service::start().await;
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    client.sync(&id, "full").await;
    (site, service, client, id)
}

/// In short, such as `upsert 4711`.
fn short(change: &Value) -> String {
    let id = change["id"].as_str().or_else(|| change["document"]["id"].as_str()).unwrap();
    format!("{} {id}", change["change"].as_str().unwrap())
}

/// The changes after a cursor, so many at a time, and the last cursor.
async fn follow(client: &Client, after: &str, limit: u32) -> (Vec<String>, String) {
    let (mut changes, mut after) = (Vec::new(), after.to_owned());
    loop {
        let page = client.get(&format!("/api/v1/changes?after={after}&limit={limit}")).await.expect(200);
        let found = page["changes"].as_array().unwrap();
        assert!(found.len() <= limit as usize);
        changes.extend(found.iter().map(short));
        if let Some(last) = found.last() {
            assert_eq!(page["cursor"], last["cursor"]);
        }
        after = page["cursor"].as_str().unwrap().to_owned();
        if page["more"] == false {
            return (changes, after);
        }
        assert!(!found.is_empty());
    }
}

fn page_ids(site: &Site) -> Vec<String> {
    site.with_state(|state| state.visible_pages()).into_iter().map(|page| page.id).collect()
}

fn upserts(ids: &[String]) -> BTreeSet<String> {
    ids.iter().map(|id| format!("upsert {id}")).collect()
}

#[tokio::test]
async fn from_the_beginning_on_each_change_is_told_once() {
    let (site, _service, client, id) = scene(60).await;
    let pages = page_ids(&site);
    let (changes, cursor) = follow(&client, "", 7).await;
    assert_eq!((changes.len(), changes.into_iter().collect::<BTreeSet<_>>()), (60, upserts(&pages)));
    assert_eq!(follow(&client, &cursor, 7).await, (vec![], cursor.clone()));

    let page = client.get("/api/v1/changes?limit=1").await.expect(200);
    let document = &page["changes"][0]["document"];
    assert_eq!(document["source_id"], id);
    assert!(document["content"].as_str().is_some_and(|content| !content.is_empty()));

    site.with_state(|state| {
        state.edit(&pages[1], None);
        state.purge(&pages[2]);
    });
    client.sync(&id, "full").await;
    let (changes, after) = follow(&client, &cursor, 100).await;
    assert_eq!(changes, [format!("upsert {}", pages[1]), format!("removal {}", pages[2])]);
    // Of what changed again, the last change; and what came and went meanwhile is gone.
    site.with_state(|state| state.edit(&pages[1], None));
    client.sync(&id, "delta").await;
    let (changes, _) = follow(&client, &cursor, 100).await;
    assert_eq!(changes, [format!("removal {}", pages[2]), format!("upsert {}", pages[1])]);
    let of_source = client.get(&format!("/api/v1/changes?source_id={id}&after={after}")).await.expect(200);
    assert_eq!(of_source["changes"].as_array().unwrap().len(), 1);

    for query in ["after=AAAA", "after=%20", "limit=0", "limit=1001", "wait=26", "wait=x"] {
        client.get(&format!("/api/v1/changes?{query}")).await.problem(400, "invalid-request");
    }
    client.get("/api/v1/changes?source_id=unknown").await.problem(404, "not-found");
}

#[tokio::test]
async fn who_waits_is_woken_by_a_change_within_a_second() {
    let (site, _service, client, id) = scene(30).await;
    let (_, cursor) = follow(&client, "", 1000).await;
    let waiting = {
        let (client, path) = (client.clone(), format!("/api/v1/changes?after={cursor}&wait=25"));
        tokio::spawn(async move { (client.get(&path).await.expect(200), Instant::now()) })
    };
    // Nothing new, and it does wait.
    client.sync(&id, "delta").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    let page = page_ids(&site)[0].clone();
    site.with_state(|state| state.edit(&page, None));
    client.sync(&id, "delta").await;
    let synced = Instant::now();
    let (answer, at) = waiting.await.unwrap();
    assert_eq!(short(&answer["changes"][0]), format!("upsert {page}"));
    assert!(at.saturating_duration_since(synced) < Duration::from_secs(1), "{:?}", at - synced);
    // Nothing comes: an answer all the same, in time.
    let began = Instant::now();
    let cursor = answer["cursor"].as_str().unwrap();
    let nothing = client.get(&format!("/api/v1/changes?after={cursor}&wait=1")).await.expect(200);
    assert_eq!(nothing, json!({"changes": [], "cursor": cursor, "more": false}));
    assert!((1..10).contains(&began.elapsed().as_secs()));
}

#[tokio::test]
async fn a_stream_goes_on_exactly_where_it_was_left() {
    let (site, _service, client, id) = scene(250).await;
    let pages = page_ids(&site);
    let told = |events: &[Event]| -> Vec<String> {
        for event in events {
            assert_eq!(
                (&json!(event.id), &json!(event.name)),
                (&event.data["cursor"], &event.data["change"])
            );
        }
        events.iter().map(|event| short(&event.data)).collect()
    };
    let (mut seen, mut last) = (Vec::new(), None);
    // Left again and again.
    for count in [1, 99, 1, 120] {
        let mut stream = client.events("/api/v1/changes/stream", last.as_deref()).await;
        let events = stream.take(count).await;
        last = events.last().map(|event| event.id.clone());
        seen.extend(told(&events));
    }
    let last = last.unwrap();
    // The header wins over the query.
    let mut stream = client.events("/api/v1/changes/stream?after=", Some(&last)).await;
    seen.extend(told(&stream.take(29).await));
    assert_eq!((seen.len(), seen.into_iter().collect::<BTreeSet<_>>()), (250, upserts(&pages)));
    // What comes while it is followed comes with it.
    site.with_state(|state| {
        state.edit(&pages[0], None);
        state.purge(&pages[1]);
    });
    client.sync(&id, "full").await;
    let live = stream.take(2).await;
    assert_eq!(told(&live), [format!("upsert {}", pages[0]), format!("removal {}", pages[1])]);
    let mut again = client.events(&format!("/api/v1/changes/stream?after={}", live[0].id), None).await;
    assert_eq!(again.take(1).await, live[1..]);
    client.get("/api/v1/changes/stream?after=AAAA").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn of_a_source_that_goes_each_removal_is_told() {
    let (site, _service, client, id) = scene(40).await;
    let (_, cursor) = follow(&client, "", 1000).await;
    let mut stream = client.events("/api/v1/changes/stream", Some(&cursor)).await;
    client.delete(&format!("/api/v1/sources/{id}")).await.expect(204);
    let expected: BTreeSet<_> = page_ids(&site).iter().map(|id| format!("removal {id}")).collect();
    let streamed: BTreeSet<_> = stream.take(40).await.iter().map(|event| short(&event.data)).collect();
    assert_eq!(streamed, expected);
    let (asked, _) = follow(&client, &cursor, 7).await;
    assert_eq!((asked.len(), asked.into_iter().collect::<BTreeSet<_>>()), (40, expected));
}

/// A stream used to go on with a revoked key as long as there were changes.
#[tokio::test]
async fn a_stream_tells_nothing_more_once_its_key_is_revoked() {
    let site = Site::builder().spaces(3).pages(30).page_bytes(300).start().await.unwrap();
    let service = Service::start().await;
    let (administration, tenant) = (service.administration(), service.tenant("acme").await);
    let id = tenant.register(&site, &json!({})).await;
    tenant.sync(&id, "full").await;
    let mut stream = tenant.events("/api/v1/changes/stream", None).await;
    assert_eq!(stream.take(30).await.len(), 30);
    let keys = administration.get("/api/v1/keys?tenant_id=acme").await.expect(200);
    let key = keys["keys"][0]["id"].as_str().unwrap();
    administration.delete(&format!("/api/v1/keys/{key}")).await.expect(204);
    tenant.get("/api/v1/changes").await.problem(401, "unauthorized");
    let page = page_ids(&site)[0].clone();
    site.with_state(|state| state.edit(&page, None));
    administration.sync(&id, "delta").await;
    assert_eq!(stream.next().await, None);
}
