//! The log as JSON: what every line holds, and what none does.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use confluence_site::Site;
use serde_json::{Value, json};

use support::{Bench, assert_exit, blocking, stderr};

/// Each line of stderr, which is an object with what a line has to have.
#[track_caller]
fn lines(stderr: &str) -> Vec<Value> {
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(value[field].is_string(), "no {field} in {line}");
        }
        chrono::DateTime::parse_from_rfc3339(value["timestamp"].as_str().unwrap()).unwrap();
        value
    };
    stderr.lines().map(line).collect()
}

#[track_caller]
fn assert_no_secret(text: &str) {
    let header = BASE64_STANDARD.encode(format!("{}:{}", Site::EMAIL, Site::TOKEN));
    for secret in [Site::TOKEN, &header] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn every_line_is_an_object_and_holds_no_secret_whatever_is_logged() {
    let site = Site::builder().spaces(3).pages(60).start().await.unwrap();
    let base_url = site.base_url();
    blocking(move || {
        let bench = Bench::new();
        let source = bench.source(&json!({"base_url": base_url}));
        let json_log = ["--allow-local", "--log-format", "json", "--log", "trace"];
        let add = bench.kai(&[&["sources", "add", &source], &json_log[..]].concat());
        assert_exit(&add, 0);
        let sync = bench.kai(&[&["sync"], &json_log[..]].concat());
        assert_exit(&sync, 0);
        for output in [&add, &sync] {
            let text = stderr(output);
            assert_no_secret(&text);
            assert!(!lines(&text).is_empty());
        }
        let seen = lines(&stderr(&sync));
        // An event of the host with its fields, beside the message.
        assert!(
            seen.iter().any(|line| line["message"] == "component loaded" && line["digest"].is_string()),
            "{seen:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn errors_and_progress_are_lines_of_the_log() {
    let site = Site::builder().spaces(3).pages(60).start().await.unwrap();
    let base_url = site.base_url();
    blocking(move || {
        let bench = Bench::new();
        let source = bench.source(&json!({"base_url": base_url, "space_key": "NOPE"}));
        let sync = ["sync", "--source", &source, "--allow-local", "--log-format", "json"];
        let output = bench.kai(&sync);
        assert_exit(&output, 4);
        let errors = lines(&stderr(&output));
        let errors: Vec<_> = errors.iter().filter(|line| line["level"] == "ERROR").collect();
        assert!(errors.iter().any(|line| line["message"].as_str().unwrap().contains("NOPE")), "{errors:?}");
        assert_no_secret(&stderr(&output));

        let source = bench.source(&json!({"base_url": base_url}));
        let sync = ["sync", "--source", &source, "--allow-local", "--log-format", "json"];
        let output = bench.kai(&sync);
        assert_exit(&output, 0);
        assert_eq!(stderr(&output), "");
        let output = bench.kai(&[&sync[..], &["--full", "--log", "info"]].concat());
        let told = lines(&stderr(&output));
        assert!(told.iter().any(|line| line["message"] == "3 spaces: full crawl"), "{told:?}");
    })
    .await;
}

#[test]
fn without_the_option_lines_are_for_people() {
    let bench = Bench::new();
    let output = bench.kai(&["inspect", "--log", "info"]);
    assert_exit(&output, 0);
    let text = stderr(&output);
    assert!(text.contains("component loaded") && !text.contains("{\""), "{text}");
}
