//! `kai sync --watch`: what it notices, what it survives, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use confluence_site::Site;
use serde_json::{Value, json};

use support::{Bench, assert_exit, assert_refused, blocking, stderr};

const PATIENCE: Duration = Duration::from_secs(60);

/// A watch, and the summaries that it prints.
struct Watch {
    child: Child,
    summaries: Receiver<Value>,
}

impl Watch {
    fn start(bench: &Bench, arguments: &[&str]) -> Self {
        let all = [&["sync", "--allow-local", "--json", "--watch", "1s"], arguments].concat();
        let mut child = bench.start(&all, &[]);
        let summaries = summaries(child.stdout.take().unwrap());
        Self { child, summaries }
    }

    /// The next summary that is like that.
    fn wait_for(&self, like: impl Fn(&Value) -> bool) -> Value {
        loop {
            let summary = self.summaries.recv_timeout(PATIENCE).unwrap();
            if like(&summary) {
                return summary;
            }
        }
    }

    fn signal(self, name: &str) -> std::process::Output {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.child.wait_with_output().unwrap()
    }
}

fn summaries(stdout: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            sender.send(serde_json::from_str(&line.unwrap()).unwrap()).ok();
        }
    });
    receiver
}

fn add(bench: &Bench, site: &Site) -> String {
    let source = bench.source(&json!({"base_url": site.base_url()}));
    let output = bench.kai(&["sources", "add", &source, "--allow-local"]);
    assert_exit(&output, 0);
    support::stdout(&output).split([' ', ':']).nth(2).unwrap().to_owned()
}

fn edit_one(site: &Site) {
    site.with_state(|state| {
        let id = state.visible_pages().swap_remove(0).id;
        state.edit(&id, None);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_notices_edits_deletions_and_new_sources_and_ends_in_good_order() {
    let site = Site::builder().pages(30).start().await.unwrap();
    let other = Site::builder().seed(2).pages(10).start().await.unwrap();
    blocking(move || {
        let bench = Bench::new();
        let first = add(&bench, &site);
        let watch = Watch::start(&bench, &["--full-every", "4s"]);
        let of = |id: &str, summary: &Value| summary["source"] == *id && summary["complete"] == true;
        let initial = watch.wait_for(|summary| of(&first, summary));
        assert_eq!(initial["documents"]["upserted"], 30);
        edit_one(&site);
        watch.wait_for(|summary| of(&first, summary) && summary["documents"]["upserted"] == 1);
        let second = add(&bench, &other);
        let initial = watch.wait_for(|summary| of(&second, summary));
        assert_eq!(initial["documents"]["upserted"], 10);
        site.with_state(|state| {
            let id = state.visible_pages().swap_remove(3).id;
            state.purge(&id);
        });
        watch.wait_for(|summary| of(&first, summary) && summary["documents"]["removed"] == 1);
        let output = watch.signal("TERM");
        assert_exit(&output, 0);
        assert!(stderr(&output).contains("stopped"), "{}", stderr(&output));
        // The lock is gone, and nothing has to be checked.
        assert_eq!(std::fs::read_to_string(bench.path("kai-data/kai.lock")).unwrap(), "");
        assert_exit(&bench.kai(&["sync", "--allow-local", "--quiet"]), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_when_its_site_fails_and_its_source_file_changes() {
    let site = Site::builder().pages(30).start().await.unwrap();
    blocking(move || {
        let bench = Bench::new();
        let source = bench.source(&json!({"base_url": site.base_url()}));
        let watch = Watch::start(&bench, &["--source", &source]);
        watch.wait_for(|summary| summary["complete"] == true);
        // The token is rotated: rejected at first, then the file has the new one.
        site.with_state(|state| state.set_account(Site::EMAIL, "rotated"));
        watch.wait_for(|summary| summary["complete"] == false);
        edit_one(&site);
        bench.source(&json!({"base_url": site.base_url(), "api_token": "rotated"}));
        let summary = watch.wait_for(|summary| summary["complete"] == true);
        assert_eq!(summary["documents"]["upserted"], 1);
        let output = watch.signal("INT");
        assert_exit(&output, 0);
        assert!(stderr(&output).contains("authentication"), "{}", stderr(&output));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_each_change_once_and_goes_on_where_it_was() {
    let site = Site::builder().spaces(1).pages(30).start().await.unwrap();
    blocking(move || {
        let bench = Bench::new();
        let source = bench.source(&json!({"base_url": site.base_url()}));
        let sync = ["sync", "--source", &source, "--allow-local", "--quiet", "--full"];
        assert_exit(&bench.kai(&sync), 0);
        let mut child = bench.start(&["changes", "--follow"], &[]);
        let lines = summaries(child.stdout.take().unwrap());
        let next = || lines.recv_timeout(PATIENCE).unwrap();
        let first: Vec<Value> = (0..30).map(|_| next()).collect();
        assert!(first.iter().all(|change| change["written"]["content"].is_string()), "{first:?}");
        let (edited, purged) = site.with_state(|state| {
            let pages = state.visible_pages();
            state.edit(&pages[3].id, None);
            state.purge(&pages[4].id);
            (pages[3].id.clone(), pages[4].id.clone())
        });
        assert_exit(&bench.kai(&sync), 0);
        let (written, removed) = (next(), next());
        assert_eq!((&written["written"]["id"], &removed["removed"]["id"]), (&json!(edited), &json!(purged)));
        let watch = Watch { child, summaries: lines };
        assert_exit(&watch.signal("TERM"), 0);
        // Another process goes on after any number that was seen.
        let after = first[29]["change"].to_string();
        let output = bench.kai(&["changes", "--after", &after]);
        assert_exit(&output, 0);
        let again: Vec<Value> =
            support::stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(again, [written, removed]);
    })
    .await;
}

#[test]
fn an_interval_that_makes_no_sense_is_refused() {
    let bench = Bench::new();
    for (interval, told) in [("soon", "write 30s, 5m or 2h"), ("0s", "a second is the shortest")] {
        let output = bench.kai(&["sync", "--watch", interval]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
    assert_refused(&bench.kai(&["sync", "--watch", "5m"]), 2, &["no source is registered"]);
}
