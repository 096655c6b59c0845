//! `kill -9` of the service: runs go on by themselves, and whoever follows the changes misses none and meets none twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confluence_site::Site;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{self, Client, PATIENCE, Service};
use crate::support::Bench;

const ROUNDS: usize = 16;

async fn start(bench: &Arc<Bench>, key: String) -> Service {
    Service::start_as(Arc::clone(bench), &["--allow-local"], key, client::client(None)).await
}

/// What follows the changes: everything that it knows is in one file, replaced as a whole.
#[derive(Default, Serialize, Deserialize)]
struct Consumer {
    cursor: Option<String>,
    documents: BTreeMap<String, u64>,
    /// One for each change that was met.
    cursors: BTreeSet<String>,
}

impl Consumer {
    /// Takes the next changes, if there are any. Whether there were.
    async fn follow(file: &PathBuf, client: &Client) -> bool {
        let mut consumer: Self =
            fs::read(file).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap()).unwrap_or_default();
        let after = consumer.cursor.as_deref().map(|cursor| format!("&after={cursor}")).unwrap_or_default();
        let answer = client.get(&format!("/api/v1/changes?limit=37{after}")).await.expect(200);
        let changes = answer["changes"].as_array().unwrap();
        for change in changes {
            let cursor = change["cursor"].as_str().unwrap().to_owned();
            assert!(consumer.cursors.insert(cursor), "{change} came before");
            match change["change"].as_str().unwrap() {
                "upsert" => {
                    let document = &change["document"];
                    let version = document["metadata"]["version_number"].as_u64().unwrap();
                    consumer.documents.insert(document["id"].as_str().unwrap().to_owned(), version);
                }
                _ => {
                    consumer.documents.remove(change["id"].as_str().unwrap());
                }
            }
        }
        consumer.cursor = answer["cursor"].as_str().map(str::to_owned);
        let part = file.with_extension("part");
        fs::write(&part, serde_json::to_vec(&consumer).unwrap()).unwrap();
        fs::rename(&part, file).unwrap();
        !changes.is_empty()
    }
}

fn is_busy(run: &Value) -> bool {
    ["queued", "running"].contains(&run["state"].as_str().unwrap())
}

/// Waits until no run waits or is under way; gives the last one.
async fn until_idle(client: &Client, runs: &str, file: &PathBuf) -> Value {
    let began = Instant::now();
    loop {
        let last = client.get(&format!("{runs}?limit=1")).await.expect(200)["runs"][0].clone();
        if !is_busy(&last) {
            return last;
        }
        assert!(began.elapsed() < 2 * PATIENCE, "{last}");
        Consumer::follow(file, client).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_the_service_goes_on_and_a_follower_misses_nothing() {
    let site = Site::builder()
        .spaces(4)
        .pages(600)
        .page_bytes(300)
        .latency(Duration::from_millis(4))
        .start()
        .await
        .unwrap();
    site.with_state(|state| state.quirks.page_cap = 10);
    let bench = Arc::new(Bench::new());
    let file = bench.path("consumer.json");
    let mut service = start(&bench, String::new()).await;
    let mut client = service.administration();
    let runs = format!("/api/v1/sources/{}/runs", client.register(&site, &json!({})).await);
    let (mut interrupted, mut killed_in_runs) = (0, 0);
    for round in 0..ROUNDS {
        let mode = ["delta", "full"][round % 2];
        let begun = client.post(&runs, &json!({"mode": mode})).await;
        // One may wait already, which an earlier round left.
        assert!([202, 409].contains(&begun.status.as_u16()), "{}", begun.text);
        let (seen, began) = (site.statistics().requests, Instant::now());
        while site.statistics().requests < seen + round as u64 % 5 * 4 + 1
            && began.elapsed() < Duration::from_secs(2)
        {
            Consumer::follow(&file, &client).await;
        }
        tokio::time::sleep(Duration::from_millis(round as u64 * 7 % 23)).await;
        let before = client.get(&runs).await.expect(200)["runs"].clone();
        killed_in_runs += usize::from(before.as_array().unwrap().iter().any(is_busy));
        service.signal("KILL");
        service.ended().await;
        site.with_state(|state| {
            let pages = state.visible_pages();
            state.edit(&pages[round * 29 % pages.len()].id, None);
            state.purge(&pages[round * 31 % pages.len()].id);
        });
        service = start(&bench, service.key.clone()).await;
        client = service.administration();
        let after = client.get(&runs).await.expect(200)["runs"].clone();
        for run in before.as_array().unwrap().iter().filter(|run| run["state"] == "running") {
            let now = after.as_array().unwrap().iter().find(|other| other["id"] == run["id"]).unwrap();
            // It may have come to its end in the moment before the kill.
            interrupted += usize::from(now["state"] == "interrupted");
            assert!(!is_busy(now), "{now}");
        }
        if round % 3 == 0 {
            let last = until_idle(&client, &runs, &file).await;
            assert_eq!(last["state"], "completed", "{last}");
        }
    }
    assert!(killed_in_runs > ROUNDS / 2, "{killed_in_runs} kills met a run");
    assert!(interrupted > ROUNDS / 4, "{interrupted} runs were interrupted");
    until_idle(&client, &runs, &file).await;
    client.post(&runs, &json!({"mode": "full"})).await.expect(202);
    let last = until_idle(&client, &runs, &file).await;
    assert_eq!((&last["state"], &last["problem"]), (&json!("completed"), &Value::Null), "{last}");
    while Consumer::follow(&file, &client).await {}

    let consumer: Consumer = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let site_pages = site.with_state(|state| state.visible_pages());
    let truth: BTreeMap<String, u64> =
        site_pages.into_iter().map(|page| (page.id, u64::from(page.version))).collect();
    assert_eq!(consumer.documents, truth);
    assert_eq!(client.count("").await, truth.len() as u64);
}
