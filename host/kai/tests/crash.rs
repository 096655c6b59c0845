//! `kill -9`: what a process that dies at any moment costs, and what it leaves. And how much memory one takes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::process::Child;
use std::time::Duration;

use confluence_site::Site;
use serde_json::{Value, json};

use support::{Bench, assert_exit, blocking, stdout};

/// What `kai documents` has, and what the site shows: title, space and version by page.
fn assert_equal(bench: &Bench, site: &Site) {
    let output = bench.kai(&["documents", "--json"]);
    assert_exit(&output, 0);
    let mut stored = BTreeMap::new();
    for line in stdout(&output).lines() {
        let document: Value = serde_json::from_str(line).unwrap();
        let text = |field: &Value| field.as_str().unwrap().to_owned();
        stored.insert(
            text(&document["id"]),
            (
                text(&document["title"]),
                text(&document["metadata"]["space_key"]),
                document["metadata"]["version_number"].as_u64().unwrap(),
            ),
        );
    }
    let pages = site.with_state(|state| state.visible_pages());
    let truth: BTreeMap<_, _> = pages
        .into_iter()
        .map(|page| (page.id, (page.title, page.space_key, u64::from(page.version))))
        .collect();
    assert!(stored == truth, "{} documents, {} pages", stored.len(), truth.len());
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_at_any_moment_a_sync_ends_up_with_all_of_the_site() {
    let site = Site::builder()
        .spaces(4)
        .pages(1_200)
        .page_bytes(300)
        .latency(Duration::from_millis(4))
        .start()
        .await
        .unwrap();
    site.with_state(|state| state.quirks.page_cap = 10);
    blocking(move || {
        let bench = Bench::new();
        let source = bench.source(&json!({"base_url": site.base_url()}));
        let sync = ["sync", "--source", &source, "--allow-local", "--quiet"];
        let mut died = 0;
        for round in 0_u64..24 {
            let mut child = bench.start(&sync, &[]);
            let seen = site.statistics().requests;
            // Not by time alone: a slow machine would never come to its first request.
            while site.statistics().requests < seen + round % 7 * 3 && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(round * 7 % 23));
            if child.try_wait().unwrap().is_none() {
                died += 1;
            }
            kill(child);
            site.with_state(|state| {
                let pages = state.visible_pages();
                state.edit(&pages[round as usize * 29 % pages.len()].id, None);
                state.purge(&pages[round as usize * 31 % pages.len()].id);
            });
        }
        assert!(died > 12, "{died} of 24 died");
        assert_exit(&bench.kai(&sync), 0);
        assert_exit(&bench.kai(&[&sync[..], &["--full"]].concat()), 0);
        assert_equal(&bench, &site);
    })
    .await;
}

/// The most memory that a process ever had, in MiB, as long as it is there to be asked.
fn peak_memory(child: &Child) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

/// A sync to its end: requests, and peak memory in MiB.
fn undisturbed(site: &Site) -> (u64, f64) {
    let bench = Bench::new();
    let source = bench.source(&json!({"base_url": site.base_url()}));
    site.forget();
    let mut child = bench.start(&["sync", "--source", &source, "--allow-local", "--quiet"], &[]);
    let mut peak = 0.0;
    while child.try_wait().unwrap().is_none() {
        peak = peak_memory(&child).unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_exit(&child.wait_with_output().unwrap(), 0);
    (site.statistics().requests, peak)
}

const SPACES: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_pages_take_no_more_memory_and_a_kill_half_way_no_more_requests() {
    let start = async |pages| {
        Site::builder().spaces(SPACES).pages(pages).page_bytes(300).log_length(1).start().await.unwrap()
    };
    let (few, many) = (start(10_000).await, start(100_000).await);
    blocking(move || {
        let (_, memory_of_few) = undisturbed(&few);
        let (requests, memory_of_many) = undisturbed(&many);
        println!("{memory_of_few:.0} MiB for 10,000 pages, {memory_of_many:.0} MiB for 100,000; {requests} requests");
        assert!(memory_of_many < memory_of_few * 1.25, "{memory_of_few} MiB, {memory_of_many} MiB");
        assert!(memory_of_many < 100.0, "{memory_of_many} MiB");

        let bench = Bench::new();
        let source = bench.source(&json!({"base_url": many.base_url()}));
        many.forget();
        let sync = ["sync", "--source", &source, "--allow-local", "--quiet", "--json"];
        let child = bench.start(&sync, &[]);
        while many.statistics().requests < requests / 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(child);
        let output = bench.kai(&sync);
        assert_exit(&output, 0);
        let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let disturbed = many.statistics().requests;
        println!("{disturbed} requests with a kill half way; {summary}");
        // And the listing of spaces, which every process begins with.
        assert!(disturbed <= requests + requests / 50 + 1, "{disturbed} after {requests}");
        assert_eq!(stdout(&bench.kai(&["documents"])).lines().count(), 100_000);
    })
    .await;
}
