//! `kill -9` of the service: runs go on by themselves, and whoever follows the changes misses none and meets none twice.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use confluence_site::Site;
use reqwest::{Client, Method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use support::{Bench, blocking};

const ROUNDS: usize = 16;

/// A running service, and how it is asked.
struct Service {
    child: Child,
    base_url: String,
    key: String,
    client: Client,
}

impl Service {
    /// The key is that of an earlier start, where there was one.
    async fn start(bench: &Bench, key: Option<String>) -> Self {
        let mut child =
            bench.start(&["serve", "--data", "data", "--listen", "127.0.0.1:0", "--allow-local"], &[]);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        let base_url = next().rsplit(' ').next().unwrap().trim_end_matches('/').to_owned();
        let key = key.unwrap_or_else(|| next().rsplit(' ').next().unwrap().to_owned());
        // It goes on writing there.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, base_url, key, client: Client::builder().no_proxy().build().unwrap() }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        let url = format!("{}/api/v1{path}", self.base_url);
        let mut request = self.client.request(method, url).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let (status, body) = self.ask(Method::GET, path, None).await?;
        assert_eq!(status, 200, "{path}: {body}");
        Some(body)
    }

    fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.key
    }
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
    async fn follow(file: &PathBuf, service: &Service) -> bool {
        let mut consumer: Self =
            fs::read(file).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap()).unwrap_or_default();
        let after = consumer.cursor.as_deref().map(|cursor| format!("&after={cursor}")).unwrap_or_default();
        let Some(answer) = service.get(&format!("/changes?limit=37{after}")).await else { return false };
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

/// Waits until no run waits or is under way; gives the last one.
async fn until_idle(service: &Service, runs: &str, file: &PathBuf) -> Value {
    let began = Instant::now();
    loop {
        let last = service.get(&format!("{runs}?limit=1")).await.unwrap()["runs"][0].clone();
        if !["queued", "running"].contains(&last["state"].as_str().unwrap()) {
            return last;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{last}");
        Consumer::follow(file, service).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_the_service_goes_on_and_a_follower_misses_nothing() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let site = Site::builder()
        .spaces(4)
        .pages(600)
        .page_bytes(300)
        .latency(Duration::from_millis(4))
        .start()
        .await
        .unwrap();
    site.with_state(|state| state.quirks.page_cap = 10);
    let bench = Bench::new();
    let file = bench.path("consumer.json");
    let mut service = Service::start(&bench, None).await;
    let source = json!({
        "kind": "CONFLUENCE", "base_url": site.base_url(), "email": Site::EMAIL, "api_token": Site::TOKEN,
    });
    let (status, source) = service.ask(Method::POST, "/sources", Some(source)).await.unwrap();
    assert_eq!(status, 201, "{source}");
    let runs = format!("/sources/{}/runs", source["id"].as_str().unwrap());
    let (mut interrupted, mut killed_in_runs) = (0, 0);
    for round in 0..ROUNDS {
        let mode = ["delta", "full"][round % 2];
        let begun = service.ask(Method::POST, &runs, Some(json!({"mode": mode}))).await.unwrap();
        // One may wait already, which an earlier round left.
        assert!([202, 409].contains(&begun.0), "{begun:?}");
        let (seen, began) = (site.statistics().requests, Instant::now());
        while site.statistics().requests < seen + round as u64 % 5 * 4 + 1
            && began.elapsed() < Duration::from_secs(2)
        {
            Consumer::follow(&file, &service).await;
        }
        tokio::time::sleep(Duration::from_millis(round as u64 * 7 % 23)).await;
        let busy = |run: &Value| ["queued", "running"].contains(&run["state"].as_str().unwrap());
        let before = service.get(&runs).await.unwrap()["runs"].clone();
        killed_in_runs += usize::from(before.as_array().unwrap().iter().any(busy));
        let key = service.kill();
        site.with_state(|state| {
            let pages = state.visible_pages();
            state.edit(&pages[round * 29 % pages.len()].id, None);
            state.purge(&pages[round * 31 % pages.len()].id);
        });
        service = Service::start(&bench, Some(key)).await;
        let after = service.get(&runs).await.unwrap()["runs"].clone();
        for run in before.as_array().unwrap().iter().filter(|run| run["state"] == "running") {
            let now = after.as_array().unwrap().iter().find(|other| other["id"] == run["id"]).unwrap();
            // It may have come to its end in the moment before the kill.
            interrupted += usize::from(now["state"] == "interrupted");
            assert!(!busy(now), "{now}");
        }
        if round % 3 == 0 {
            let last = until_idle(&service, &runs, &file).await;
            assert_eq!(last["state"], "completed", "{last}");
        }
    }
    assert!(killed_in_runs > ROUNDS / 2, "{killed_in_runs} kills met a run");
    assert!(interrupted > ROUNDS / 4, "{interrupted} runs were interrupted");
    until_idle(&service, &runs, &file).await;
    service.ask(Method::POST, &runs, Some(json!({"mode": "full"}))).await.unwrap();
    let last = until_idle(&service, &runs, &file).await;
    assert_eq!((&last["state"], &last["problem"]), (&json!("completed"), &Value::Null), "{last}");
    while Consumer::follow(&file, &service).await {}

    let consumer: Consumer = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let site_pages = site.with_state(|state| state.visible_pages());
    let truth: BTreeMap<String, u64> =
        site_pages.into_iter().map(|page| (page.id, u64::from(page.version))).collect();
    assert_eq!(consumer.documents, truth);
    assert_eq!(service.get("/documents/count").await.unwrap()["count"], truth.len());
    blocking(move || service.kill()).await;
}
