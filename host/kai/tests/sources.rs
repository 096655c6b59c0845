//! Registered sources as their users meet them: added, listed, synced, given new tokens, removed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use confluence_site::Site;
use kai::store::SqliteStore;
use serde_json::{Value, json};

use support::{Bench, assert_exit, assert_refused, blocking, keys, source_text, stderr, stdout};

const NEW_TOKEN: &str = "new-token-8d2e";
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

async fn site() -> Site {
    Site::builder().spaces(3).pages(60).start().await.unwrap()
}

/// Adds a source with these fields; its id.
#[track_caller]
fn add(bench: &Bench, fields: &Value) -> String {
    let file = bench.write("added.json", &source_text(fields));
    let output = bench.kai(&["sources", "add", &file, "--allow-local"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    let (what, rest) = text.split_once(" source ").unwrap();
    assert!(["added", "updated"].contains(&what), "{text}");
    fs::remove_file(file).unwrap();
    rest.split_once(':').unwrap().0.to_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn list(bench: &Bench) -> Vec<Value> {
    let output = bench.kai(&["sources", "list", "--json"]);
    assert_exit(&output, 0);
    lines(&output)
}

/// The token, and what all Base64 of texts that end with it have in common, for each offset that it can begin at.
fn forms(token: &str) -> Vec<Vec<u8>> {
    let encoded = (0..3_usize).map(|offset| {
        let text = STANDARD.encode(format!("{}{token}", "x".repeat(offset)));
        // Characters that also hold bits of what is before the token, or none of it.
        let first = [0, 2, 3][offset];
        text.trim_end_matches('=').as_bytes()[first..].to_vec()
    });
    encoded.chain([token.as_bytes().to_vec()]).collect()
}

/// The files below the directory that hold one of these tokens, and how many there are in all.
fn files_with(directory: &Path, tokens: &[&str]) -> (Vec<PathBuf>, usize) {
    let (mut found, mut count) = (Vec::new(), 0);
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let (more, files) = files_with(&path, tokens);
            found.extend(more);
            count += files;
            continue;
        }
        count += 1;
        let bytes = fs::read(&path).unwrap();
        let holds = |form: Vec<u8>| bytes.windows(form.len()).any(|window| window == form);
        if tokens.iter().flat_map(|token| forms(token)).any(holds) {
            found.push(path);
        }
    }
    (found, count)
}

#[tokio::test]
async fn a_source_is_registered_listed_synced_by_its_id_and_removed() {
    let site = site().await;
    let base_url = site.base_url();
    blocking(move || {
        let bench = Bench::new();
        let id = add(&bench, &json!({"base_url": base_url}));
        let [source] = list(&bench).try_into().unwrap();
        assert_eq!(
            source,
            json!({
                "id": id, "base_url": base_url, "email": Site::EMAIL, "scope": null, "documents": 0, "failures": 0,
                "last_run": null, "token_kept": true,
            })
        );
        let shown = stdout(&bench.kai(&["sources", "list"]));
        for part in [&id, &base_url, "every visible space", "0 documents", "no run completed", "token kept"] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = fs::metadata(bench.path("config/kai/master.key")).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
        }

        let output = bench.kai(&["sync", "--source", &id, "--allow-local", "--json", "--quiet"]);
        assert_exit(&output, 0);
        let [summary] = lines(&output).try_into().unwrap();
        assert!(!keys(&summary).contains("source"), "the summary of one source is as it was");
        assert_eq!(summary["documents"]["upserted"], 60);
        let [source] = list(&bench).try_into().unwrap();
        assert_eq!((&source["documents"], &source["last_run"]["mode"]), (&json!(60), &json!("full")));
        assert_eq!(keys(&source["last_run"]), BTreeSet::from(["mode", "ended_at"]));

        // From its file it is the same source.
        let file = bench.source(&json!({"base_url": base_url}));
        let output = bench.kai(&["sync", "--source", &file, "--allow-local", "--json", "--quiet"]);
        assert_eq!(lines(&output)[0]["mode"], "delta");
        let output = bench.kai(&["sources", "add", &file, "--allow-local"]);
        assert_eq!(stdout(&output).split(':').next(), Some(format!("updated source {id}").as_str()));
        assert_eq!(list(&bench)[0]["documents"], 60);

        let output = bench.kai(&["sources", "remove", &id]);
        assert_exit(&output, 0);
        assert_eq!(stdout(&output), format!("removed source {id} with 60 documents\n"));
        assert!(list(&bench).is_empty());
        assert!(stdout(&bench.kai(&["documents"])).is_empty());
        assert_refused(&bench.kai(&["sources", "remove", &id]), 2, &["no source", &id, "there is none"]);
    })
    .await;
}

#[tokio::test]
async fn a_rejected_token_is_not_kept_and_the_old_one_stays() {
    let site = std::sync::Arc::new(site().await);
    blocking(move || {
        let bench = Bench::new();
        let base_url = site.base_url();
        let wrong = bench.source(&json!({"base_url": base_url, "api_token": "wrong"}));
        let refused = bench.kai(&["sources", "add", &wrong, "--allow-local"]);
        assert_refused(&refused, 3, &["authentication"]);
        assert!(!bench.path("kai-data").exists() && !bench.path("config").exists());

        let id = add(&bench, &json!({"base_url": base_url}));
        let rotate = ["sources", "rotate-token", &id, "--allow-local"];
        assert_refused(&bench.kai(&["sources", "add", &wrong, "--allow-local"]), 3, &["authentication"]);
        assert_refused(&bench.kai_with(&rotate, "wrong\n", &[]), 3, &["authentication"]);
        assert_refused(&bench.kai_with(&rotate, " \n", &[]), 2, &["KAI_API_TOKEN", "stdin"]);
        let sync = ["sync", "--source", &id, "--allow-local", "--quiet"];
        assert_exit(&bench.kai(&sync), 0);

        // By stdin, and by the environment, which wins.
        site.with_state(|state| state.set_account(Site::EMAIL, NEW_TOKEN));
        assert_exit(&bench.kai(&sync), 3);
        assert_exit(&bench.kai_with(&rotate, &format!("{NEW_TOKEN}\n"), &[]), 0);
        assert_exit(&bench.kai(&sync), 0);
        site.with_state(|state| state.set_account(Site::EMAIL, Site::TOKEN));
        assert_exit(&bench.kai_with(&rotate, NEW_TOKEN, &[("KAI_API_TOKEN", Site::TOKEN)]), 0);
        assert_exit(&bench.kai(&sync), 0);
        assert_eq!(list(&bench)[0]["documents"], 60);
    })
    .await;
}

#[tokio::test]
async fn the_token_is_in_no_file_and_in_no_output() {
    let site = std::sync::Arc::new(site().await);
    blocking(move || {
        let bench = Bench::new();
        let id = add(&bench, &json!({"base_url": site.base_url()}));
        site.with_state(|state| state.add_account(Site::EMAIL, NEW_TOKEN));
        let tokens = [Site::TOKEN, NEW_TOKEN];
        let mut said = String::new();
        for (arguments, stdin, code) in [
            (&["sync", "--allow-local"][..], "", 0),
            (&["sources", "rotate-token", &id, "--allow-local"], NEW_TOKEN, 0),
            (&["sync", "--source", &id, "--full", "--allow-local", "--markdown", "files"], "", 0),
            (&["sources", "list"], "", 0),
            (&["sources", "list", "--json"], "", 0),
            (&["sync", "--source", &id, "--scope-path", "ENG"], "", 2),
        ] {
            let output = bench.kai_with(&[arguments, &["--log", "trace"]].concat(), stdin, &[]);
            assert_exit(&output, code);
            said += &stdout(&output);
            said += &stderr(&output);
        }
        bench.write("said.txt", &said);
        let (found, count) = files_with(&bench.path(""), &tokens);
        assert!(found.is_empty(), "{found:?}");
        assert!(count > 60, "database, key, output, and a file for each page: {count}");
        // What is looked for is found where it is.
        for text in [NEW_TOKEN.to_owned(), STANDARD.encode(format!("{}:{}", Site::EMAIL, Site::TOKEN))] {
            let file = bench.write("kai-data/probe", &text);
            assert_eq!(files_with(&bench.path(""), &tokens).0, [PathBuf::from(file)]);
        }
    })
    .await;
}

#[tokio::test]
async fn without_the_right_key_no_token_opens_and_the_message_says_why() {
    let site = site().await;
    let base_url = site.base_url();
    blocking(move || {
        let bench = Bench::new();
        let file = bench.source(&json!({"base_url": base_url}));
        let add = ["sources", "add", &file, "--allow-local"];
        for (key, told) in
            [("s3cret-key", "KAI_MASTER_KEY is not a key of 32 bytes"), ("", "openssl rand -base64 32")]
        {
            let output = bench.kai_with(&add, "", &[("KAI_MASTER_KEY", key)]);
            assert_refused(&output, 2, &[told]);
            assert!(!stderr(&output).contains("s3cret-key"));
        }
        let in_data = bench.path("kai-data").display().to_string();
        let output = bench.kai_with(&add, "", &[("XDG_CONFIG_HOME", &in_data)]);
        assert_refused(&output, 2, &["lies in the data directory", "KAI_MASTER_KEY"]);
        assert!(!bench.path("kai-data/kai").exists());

        let right = [("KAI_MASTER_KEY", KEY)];
        assert_exit(&bench.kai_with(&add, "", &right), 0);
        assert!(!bench.path("config").exists(), "no key file is made where there is a key");
        let id = list(&bench)[0]["id"].as_str().unwrap().to_owned();
        let rotate = ["sources", "rotate-token", &id, "--allow-local"];
        for sync in [
            &["sync", "--allow-local", "--quiet"][..],
            &["sync", "--source", &id, "--allow-local", "--quiet"],
        ] {
            assert_exit(&bench.kai_with(sync, "", &right), 0);
            let missing = ["KAI_MASTER_KEY is not set", "master.key does not exist"];
            assert_refused(&bench.kai(sync), 2, &missing);
            let output = bench.kai_with(sync, "", &[("KAI_MASTER_KEY", OTHER_KEY)]);
            assert_refused(&output, 2, &[&id, "another key than that of KAI_MASTER_KEY", "rotate-token"]);
        }
        // A new key made now would leave two in one store.
        assert_refused(&bench.kai_with(&rotate, Site::TOKEN, &[]), 2, &["KAI_MASTER_KEY is not set"]);
        assert!(!bench.path("config").exists());
        // Whoever lost the key goes on with another one.
        let other = [("KAI_MASTER_KEY", OTHER_KEY)];
        assert_exit(&bench.kai_with(&rotate, Site::TOKEN, &other), 0);
        assert_exit(&bench.kai_with(&["sync", "--allow-local", "--quiet"], "", &other), 0);

        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::create_dir_all(bench.path("config/kai")).unwrap();
            let file = bench.write("config/kai/master.key", KEY);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            assert_refused(&bench.kai(&["sync", "--allow-local"]), 2, &[&file, "mode 644", "chmod 600"]);
        }
    })
    .await;
}

#[tokio::test]
async fn every_registered_source_is_synced_and_they_keep_apart() {
    let (site, other) = (site().await, Site::builder().seed(2).spaces(1).pages(10).start().await.unwrap());
    let urls = (site.base_url(), other.base_url());
    let (bench, ids) = blocking(move || {
        let bench = Bench::new();
        let ids = [
            add(&bench, &json!({"base_url": urls.0, "space_key": "ENG"})),
            add(&bench, &json!({"base_url": urls.1})),
            add(&bench, &json!({"base_url": urls.0, "scope_path": "/spaces/OPS"})),
        ];
        let output = bench.kai(&["sync", "--allow-local", "--quiet", "--json"]);
        assert_exit(&output, 0);
        let summaries = lines(&output);
        assert_eq!(summaries.len(), 3);
        for (id, documents) in ids.iter().zip([20, 10, 20]) {
            let summary = summaries.iter().find(|summary| summary["source"] == **id).unwrap();
            assert_eq!(
                (&summary["mode"], &summary["documents"]["upserted"]),
                (&json!("full"), &json!(documents))
            );
        }
        assert!(stdout(&output).lines().all(|line| line.starts_with(r#"{"source":""#)));
        let listed: Vec<(Value, Value)> = list(&bench)
            .iter()
            .map(|source| (source["scope"].clone(), source["documents"].clone()))
            .collect();
        assert_eq!(
            listed,
            [(json!("ENG"), json!(20)), (json!(null), json!(10)), (json!("/spaces/OPS"), json!(20))]
        );
        for (id, documents) in ids.iter().zip([20, 10, 20]) {
            assert_eq!(stdout(&bench.kai(&["documents", "--source", id])).lines().count(), documents);
        }
        (bench, ids)
    })
    .await;
    drop(other);
    blocking(move || {
        // One that fails keeps none from its turn.
        let output = bench.kai(&["sync", "--allow-local", "--quiet", "--full"]);
        assert_exit(&output, 6);
        assert!(stderr(&output).starts_with(&format!("kai: source {}: ", ids[1])), "{}", stderr(&output));
        let text = stdout(&output);
        for id in &ids {
            assert!(text.lines().any(|line| line.starts_with(&format!("{id}: http://127.0.0.1"))), "{text}");
        }
        assert_eq!(text.matches("full run complete").count(), 2, "{text}");

        // Without the one, the others are as they were.
        assert_exit(&bench.kai(&["sources", "remove", &ids[0]]), 0);
        assert_eq!(stdout(&bench.kai(&["documents"])).lines().count(), 30);
        let output = bench.kai(&["sync", "--source", &ids[2], "--allow-local", "--quiet", "--json"]);
        assert_eq!(lines(&output)[0]["documents"]["upserted"], 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_neither_a_file_nor_a_registered_source_is_refused_with_what_there_is() {
    let site = site().await;
    let base_url = site.base_url();
    blocking(move || {
        let bench = Bench::new();
        let nowhere = ["missing.json", "cannot be read", "no source is registered in kai-data"];
        assert_refused(&bench.kai(&["sync", "--source", "missing.json"]), 2, &nowhere);
        assert_refused(&bench.kai(&["sync"]), 2, &["no source is registered in kai-data", "kai sources add"]);
        for command in [&["list"][..], &["remove", "x"], &["rotate-token", "x"]] {
            assert_refused(&bench.kai(&[&["sources"], command].concat()), 1, &["no store in kai-data"]);
        }
        assert!(!bench.path("kai-data").exists());

        let id = add(&bench, &json!({"base_url": base_url}));
        let known = ["0123", "cannot be read", "no source 0123", &id, &base_url];
        assert_refused(&bench.kai(&["sync", "--source", "0123"]), 2, &known);
        for arguments in [&["sync", "--source", &id][..], &["sync"]] {
            let output = bench.kai(&[arguments, &["--scope-path", "ENG"]].concat());
            assert_refused(&output, 2, &["--scope-path", "another source"]);
        }

        // Of a source that was only ever synced from a file, the store has no token.
        let file = bench.source(&json!({"base_url": base_url, "space_key": "OPS"}));
        assert_exit(&bench.kai(&["sync", "--source", &file, "--allow-local", "--quiet"]), 0);
        let unregistered = list(&bench)[0].clone();
        assert_eq!((&unregistered["documents"], &unregistered["token_kept"]), (&json!(20), &json!(false)));
        let unregistered = unregistered["id"].as_str().unwrap();
        for arguments in [&["sync", "--source", unregistered][..], &["sources", "rotate-token", unregistered]]
        {
            assert_refused(
                &bench.kai(arguments),
                2,
                &[unregistered, "synced from a file", "kai sources add"],
            );
        }

        // A file wins over an id of the same name.
        fs::rename(&file, bench.path(&id)).unwrap();
        let output = bench.kai(&["sync", "--source", &id, "--allow-local", "--quiet", "--json"]);
        assert_eq!(lines(&output)[0]["delta_tokens"].as_object().unwrap().keys().next().unwrap(), "OPS");
    })
    .await;
}

#[tokio::test]
async fn sources_are_added_and_rotated_but_not_removed_while_another_process_syncs() {
    let site = site().await;
    let base_url = site.base_url();
    blocking(move || {
        let bench = Bench::new();
        let syncing = SqliteStore::open(&bench.path("kai-data")).unwrap();
        let id = add(&bench, &json!({"base_url": base_url}));
        let rotate = ["sources", "rotate-token", &id, "--allow-local"];
        assert_exit(&bench.kai_with(&rotate, Site::TOKEN, &[]), 0);
        let holder = format!("process {}", std::process::id());
        assert_refused(&bench.kai(&["sources", "remove", &id]), 1, &["in use", &holder]);
        drop(syncing);
        assert_exit(&bench.kai(&["sources", "remove", &id]), 0);
    })
    .await;
}

#[tokio::test]
async fn a_damaged_store_is_named_and_left_alone() {
    let bench = Bench::new();
    fs::create_dir(bench.path("kai-data")).unwrap();
    let file = bench.write("kai-data/kai.sqlite", "somebody's notes");
    let source = bench.source(&json!({"base_url": "http://127.0.0.1:9"}));
    for arguments in [
        &["sync", "--source", &source, "--allow-local"][..],
        &["sync"],
        &["documents"],
        &["sources", "list"],
        &["sources", "remove", "x"],
    ] {
        assert_refused(&bench.kai(arguments), 1, &["kai-data is damaged", "backup"]);
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "somebody's notes");
}
