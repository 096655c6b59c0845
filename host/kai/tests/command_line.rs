//! The program as its users meet it: exit codes, output, and what bad input leaves behind.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;

use confluence_site::{PageStatus, Site};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use support::{Bench, assert_exit, assert_refused, blocking, keys, source_text, stderr, stdout};

async fn site() -> Site {
    Site::builder().spaces(3).pages(60).start().await.unwrap()
}

#[tokio::test]
async fn sync_and_documents_speak_json_in_the_shapes_that_others_read() {
    let site = site().await;
    let truth: BTreeSet<String> =
        site.with_state(|state| state.visible_pages().into_iter().map(|page| page.id).collect());
    let base_url = site.base_url();
    blocking(move || {
        let bench = Bench::new();
        let source = bench.source(&json!({"base_url": base_url}));
        let sync = ["sync", "--source", &source, "--data", "D", "--allow-local", "--json"];
        let output = bench.kai(&sync);
        assert_exit(&output, 0);
        let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(
            keys(&summary),
            BTreeSet::from([
                "mode",
                "complete",
                "partitions",
                "documents",
                "http",
                "seconds",
                "delta_tokens",
                "unknown_macros"
            ])
        );
        assert_eq!((&summary["mode"], &summary["complete"]), (&json!("full"), &json!(true)));
        assert_eq!(summary["partitions"], 3);
        assert_eq!(summary["documents"], json!({"upserted": 60, "unchanged": 0, "removed": 0, "failed": 0}));
        assert_eq!(
            keys(&summary["http"]),
            BTreeSet::from([
                "requests",
                "retries",
                "throttled",
                "throttled_seconds",
                "max_in_flight",
                "bytes"
            ])
        );
        assert_eq!(keys(&summary["delta_tokens"]), BTreeSet::from(["ENG", "OPS", "~712020ada"]));
        assert_eq!(keys(&summary["unknown_macros"]), BTreeSet::from(["acme-approval"]));

        let output = bench.kai(&["documents", "--data", "D", "--json"]);
        assert_exit(&output, 0);
        let mut found = BTreeSet::new();
        for line in stdout(&output).lines() {
            let document: Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                keys(&document),
                BTreeSet::from(["id", "title", "mime_type", "content", "modified_at", "metadata"])
            );
            assert_eq!(
                keys(&document["metadata"]),
                BTreeSet::from([
                    "web_url",
                    "space_key",
                    "version_number",
                    "created_at",
                    "created_by_display_name"
                ])
            );
            found.insert(document["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(found, truth);

        let output = bench.kai(&sync);
        assert_exit(&output, 0);
        let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(summary["mode"], "delta");
        assert_eq!(summary["documents"]["upserted"], 0);
    })
    .await;
}

#[tokio::test]
async fn documents_are_shown_one_by_one_and_as_a_list() {
    let site = site().await;
    let page = site.with_state(|state| state.visible_pages().swap_remove(0));
    let base_url = site.base_url();
    blocking(move || {
        let bench = Bench::new();
        let source = bench.source(&json!({"base_url": base_url}));
        assert_exit(&bench.kai(&["sync", "--source", &source, "--allow-local", "--quiet"]), 0);
        let list = stdout(&bench.kai(&["documents"]));
        assert_eq!(list.lines().count(), 60);
        assert!(list.contains(&page.title), "{list}");
        let one = stdout(&bench.kai(&["documents", "--id", &page.id]));
        assert!(one.starts_with("# "), "{one}");
        assert_refused(&bench.kai(&["documents", "--id", "999"]), 2, &["no page 999"]);
        assert_refused(
            &bench.kai(&["documents", "--source", "nope"]),
            2,
            &["no source nope", "http://127.0.0.1"],
        );
        assert_refused(
            &bench.kai(&["documents", "--data", "elsewhere"]),
            1,
            &["no store in elsewhere", "kai sync"],
        );
    })
    .await;
}

#[tokio::test]
async fn markdown_files_follow_the_documents() {
    let site = site().await;
    let base_url = site.base_url();
    let (renamed, purged) = site.with_state(|state| {
        let mut pages = state.visible_pages();
        (pages.swap_remove(4), pages.swap_remove(9))
    });
    let bench = std::sync::Arc::new(Bench::new());
    let source = bench.source(&json!({"base_url": base_url}));
    let run = |full: bool| {
        let (bench, source) = (std::sync::Arc::clone(&bench), source.clone());
        blocking(move || {
            let mut arguments = vec!["sync", "--source", &source, "--allow-local", "--markdown", "files"];
            if full {
                arguments.push("--full");
            }
            let output = bench.kai(&arguments);
            assert_exit(&output, 0);
            stdout(&output)
        })
    };
    let files = || {
        let mut files = BTreeSet::new();
        for space in std::fs::read_dir(bench.path("files")).unwrap() {
            let space = space.unwrap().path();
            if space.is_dir() {
                files.extend(std::fs::read_dir(space).unwrap().map(|file| file.unwrap().path()));
            }
        }
        files.retain(|file| !file.ends_with("index.md"));
        files
    };
    assert!(run(false).await.contains("files: 60 files written, 0 unchanged, 0 removed"));
    let first = files();
    assert_eq!(first.len(), 60);
    let path =
        first.iter().find(|path| path.to_string_lossy().ends_with(&format!("-{}.md", renamed.id))).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.starts_with("---\nid: ") && text.contains("\n---\n\n# "), "{text}");
    let touched = std::fs::metadata(path).unwrap().modified().unwrap();

    assert!(run(false).await.contains("0 files written, 60 unchanged, 0 removed"));
    assert_eq!(std::fs::metadata(path).unwrap().modified().unwrap(), touched);

    std::fs::write(bench.path("files/mine.txt"), "mine").unwrap();
    site.with_state(|state| {
        state.rename(&renamed.id, "Another / name");
        state.purge(&purged.id);
    });
    assert!(run(true).await.contains("1 file written, 58 unchanged, 1 removed"));
    let last = files();
    assert_eq!(last.len(), 59);
    assert!(last.iter().any(|path| path.ends_with(format!("Another - name-{}.md", renamed.id))), "{last:?}");
    assert!(bench.path("files/mine.txt").exists());
    let file = last.first().unwrap();
    let index = std::fs::read_to_string(file.with_file_name("index.md")).unwrap();
    let id = file.file_stem().unwrap().to_string_lossy().rsplit('-').next().unwrap().to_owned();
    assert!(index.contains(&format!("-{id}.md)\n")), "{index}");

    std::fs::remove_dir_all(bench.path("files")).unwrap();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "mine").unwrap();
    let output = blocking({
        let (bench, source) = (std::sync::Arc::clone(&bench), source.clone());
        move || bench.kai(&["sync", "--source", &source, "--allow-local", "--markdown", "files", "--quiet"])
    });
    let name = file.file_name().unwrap().to_string_lossy();
    assert_refused(&output.await, 2, &[&name, "not kai's", "--markdown"]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
}

#[test]
fn a_bad_source_file_is_refused_and_leaves_the_store_empty() {
    let bench = Bench::new();
    let cases: [(String, &[&str]); 12] = [
        (bench.path("missing.json").display().to_string(), &["missing.json", "cannot be read"]),
        (bench.write("text.json", "base_url: x"), &["text.json", "not JSON", "line 1"]),
        (
            bench.write("unknown.json", &source_text(&json!({"space": "ENG"}))),
            &["unknown field `space`", "space_key"],
        ),
        (bench.write("lacking.json", r#"{"kind":"CONFLUENCE"}"#), &["missing field `base_url`"]),
        (bench.write("kind.json", &source_text(&json!({"kind": "JIRA"}))), &["kind", "CONFLUENCE"]),
        (
            bench.write("http.json", &source_text(&json!({"base_url": "http://acme.example"}))),
            &["base_url", "https"],
        ),
        (
            bench.write("api.json", &source_text(&json!({"base_url": "https://acme.example/wiki/api/v2"}))),
            &["base_url", "/wiki/api/v2"],
        ),
        (
            bench.write("user.json", &source_text(&json!({"base_url": "https://ada:pass@acme.example"}))),
            &["base_url", "user information"],
        ),
        (
            bench.write("host.json", &source_text(&json!({"base_url": "acme.example"}))),
            &["base_url", "https://"],
        ),
        (
            bench.write("local.json", &source_text(&json!({"base_url": "https://169.254.169.254"}))),
            &["base_url", "169.254.169.254", "private"],
        ),
        (bench.write("email.json", &source_text(&json!({"email": ""}))), &["email is empty"]),
        (bench.write("token.json", &source_text(&json!({"api_token": ""}))), &["api_token", "KAI_API_TOKEN"]),
    ];
    for (file, told) in &cases {
        for command in ["validate", "sync"] {
            assert_refused(&bench.kai(&[command, "--source", file]), 2, told);
        }
    }
    // A sync opens the store before it asks the site, but writes nothing into it.
    let documents = bench.kai(&["documents"]);
    assert!(stdout(&documents).is_empty());
}

#[test]
fn a_bad_component_file_is_refused_by_name() {
    let bench = Bench::new();
    let source = bench.source(&json!({}));
    let module = bench.path("module.wasm");
    std::fs::write(&module, b"\0asm\x01\0\0\0").unwrap();
    bench.write("text.wasm", "hello");
    let curious = r#"(component (import "wasi:filesystem/types@0.2.0" (instance)) (import "wasi:sockets/tcp@0.2.0" (instance)))"#;
    std::fs::write(bench.path("curious.wasm"), wat::parse_str(curious).unwrap()).unwrap();
    for (file, told) in [
        ("missing.wasm", "cannot be read"),
        ("text.wasm", "not WebAssembly"),
        ("module.wasm", "core WebAssembly module"),
        ("curious.wasm", "wasi:filesystem/types@0.2.0, wasi:sockets/tcp@0.2.0"),
    ] {
        for arguments in [
            vec!["inspect", "--component", file],
            vec!["sync", "--source", &source, "--component", file],
            vec!["validate", "--source", &source, "--component", file],
        ] {
            assert_refused(&bench.kai(&arguments), 2, &[file, told]);
        }
    }
    assert!(!bench.path("kai-data").exists());
}

#[test]
fn a_component_in_a_registry_is_refused_with_a_reason() {
    let bench = Bench::new();
    let digest = format!("sha256:{}", "0".repeat(64));
    let unreachable = format!("oci://127.0.0.1:9/team/connector:0.1.0@{digest}");
    for (component, code, told) in [
        ("oci://registry.example/team/connector:0.1.0", 2, "registry.example/team/connector:0.1.0@sha256:"),
        ("oci://team/connector@sha256:0", 2, "registry"),
        (&unreachable, 6, "unavailable: the connection is refused"),
    ] {
        let arguments = ["inspect", "--allow-local", "--component", component];
        assert_refused(&bench.kai(&arguments), code, &["component", told]);
    }
}

#[test]
fn a_component_is_pulled_from_a_registry_and_runs() {
    let component = std::fs::read(env!("KAI_BUILT_IN_COMPONENT")).unwrap();
    let digest = |bytes: &[u8]| {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    };
    let layer =
        json!({"mediaType": "application/wasm", "digest": digest(&component), "size": component.len()});
    let manifest = json!({"schemaVersion": 2, "layers": [layer]}).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reference =
        format!("oci://{}/team/connector@{}", listener.local_addr().unwrap(), digest(manifest.as_bytes()));
    let registry = std::thread::spawn(move || {
        for body in [manifest.as_bytes(), &component] {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map(Result::unwrap);
            assert!(lines.take_while(|line| !line.is_empty()).any(|line| line.starts_with("GET /v2/")));
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
        }
    });
    let output = Bench::new().kai(&["inspect", "--allow-local", "--component", &reference]);
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("CONFLUENCE"), "{}", stdout(&output));
    registry.join().unwrap();
}

#[tokio::test]
async fn a_rejected_credential_an_unknown_space_and_an_unreachable_site_have_their_own_exit_codes() {
    let site = site().await;
    let base_url = site.base_url();
    blocking(move || {
        let bench = Bench::new();
        let cases: [(Value, i32, &[&str]); 4] = [
            (json!({"base_url": base_url, "api_token": "wrong"}), 3, &["authentication", "api_token"]),
            (json!({"base_url": base_url, "email": "eve@acme.example"}), 3, &["authentication", "email"]),
            (json!({"base_url": base_url, "space_key": "NOPE"}), 4, &["space NOPE", "space_key"]),
            (json!({"base_url": "http://127.0.0.1:9"}), 6, &["http://127.0.0.1:9", "refuses connections"]),
        ];
        for (fields, code, told) in cases {
            let source = bench.source(&fields);
            assert_refused(&bench.kai(&["validate", "--source", &source, "--allow-local"]), code, told);
            let output = bench.kai(&["sync", "--source", &source, "--allow-local", "--json"]);
            assert_exit(&output, code);
            assert!(told.iter().all(|part| stderr(&output).contains(part)), "{}", stderr(&output));
            let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
            assert_eq!(summary["complete"], false);
        }
        let good = bench.source(&json!({"base_url": base_url}));
        let output = bench.kai(&["validate", "--source", &good, "--allow-local"]);
        assert_exit(&output, 0);
        assert!(stdout(&output).contains("is good"));
        // The store is as it was: there is nothing in it.
        assert!(stdout(&bench.kai(&["documents", "--json"])).is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_page_that_fails_makes_the_exit_code_seven_and_the_rest_is_there() {
    let site = site().await;
    let base_url = site.base_url();
    let broken = site.with_state(|state| {
        let id = state.visible_pages().swap_remove(5).id;
        state.set_broken(&id, true);
        let other = state.visible_pages().swap_remove(6).id;
        state.set_status(&other, PageStatus::Archived);
        id
    });
    blocking(move || {
        let bench = Bench::new();
        let source = bench.source(&json!({"base_url": base_url}));
        let output = bench.kai(&["sync", "--source", &source, "--allow-local", "--quiet"]);
        assert_exit(&output, 7);
        assert!(stdout(&output).contains("1 failed"), "{}", stdout(&output));
        assert!(stderr(&output).is_empty(), "{}", stderr(&output));
        assert_eq!(stdout(&bench.kai(&["documents"])).lines().count(), 58);
        assert_exit(&bench.kai(&["sync", "--source", &source, "--allow-local", "--quiet"]), 7);
        let failed: Value =
            serde_json::from_str(&stdout(&bench.kai(&["documents", "--failed", "--json"]))).unwrap();
        assert_eq!(keys(&failed), BTreeSet::from(["id", "title", "cause", "attempts"]));
        assert_eq!((&failed["id"], &failed["attempts"]), (&json!(broken), &json!(2)));
        let shown = stdout(&bench.kai(&["documents", "--failed"]));
        assert!(shown.contains(&broken) && shown.contains("2 attempts"), "{shown}");
    })
    .await;
}

#[test]
fn the_token_may_come_from_the_environment() {
    let bench = Bench::new();
    let source = bench.write(
        "source.json",
        r#"{"kind":"CONFLUENCE","base_url":"https://169.254.169.254","email":"ada@acme.example"}"#,
    );
    assert_refused(&bench.kai(&["validate", "--source", &source]), 2, &["api_token is missing"]);
    let output = Command::new(env!("CARGO_BIN_EXE_kai"))
        .args(["validate", "--source", &source])
        .env("KAI_API_TOKEN", Site::TOKEN)
        .output()
        .unwrap();
    assert_refused(&output, 2, &["private address"]);
}

#[test]
fn convert_turns_storage_on_stdin_or_in_a_file_into_markdown() {
    let bench = Bench::new();
    let page = ["--title", "T", "--base-url", "https://acme.example", "--page-id", "1", "--space-key", "ENG"];
    let convert = |file: &[&str], stdin: &str| {
        bench.kai_with(&[&["convert"], file, page.as_slice()].concat(), stdin, &[])
    };
    let storage = "<p>Hello <strong>world</strong></p><ac:structured-macro ac:name=\"odd\"><ac:rich-text-body><p>x</p></ac:rich-text-body></ac:structured-macro>";
    let output = convert(&[], storage);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "# T\n\nHello **world**\n\nx\n");
    assert_eq!(stderr(&output), "note: unknown macro: odd: 1\n");
    let checked = convert(&["--check"], storage);
    assert_exit(&checked, 0);
    assert_eq!(
        (stdout(&checked), stderr(&checked)),
        ("warning: unknown macro: odd: 1\n".to_owned(), String::new())
    );
    let file = bench.write("page.xml", storage);
    assert_eq!(stdout(&convert(&[&file], "")), stdout(&output));
    assert_refused(&convert(&["missing.xml"], ""), 2, &["missing.xml"]);
    std::fs::write(bench.path("binary.xml"), [0xff, 0xfe, 0x00]).unwrap();
    assert_refused(&convert(&["binary.xml"], ""), 2, &["binary.xml", "UTF-8"]);
}

#[test]
fn inspect_shows_what_the_component_is_and_asks_for() {
    let output = Bench::new().kai(&["inspect"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    for part in
        ["CONFLUENCE", "kai:connector/connector@0.1.0", "wasi:http/outgoing-handler@0.2", "sha256", "bytes"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("wasi:filesystem") && !text.contains("wasi:sockets"));
}

#[tokio::test]
async fn a_second_writer_is_refused_and_told_who_the_first_is() {
    let bench = Bench::new();
    let store = kai::store::SqliteStore::open(&bench.path("kai-data")).unwrap();
    let source = bench.source(&json!({"base_url": "http://127.0.0.1:9"}));
    let holder = format!("process {}", std::process::id());
    assert_refused(&bench.kai(&["sync", "--source", &source, "--allow-local"]), 1, &["in use", &holder]);
    drop(store);
}

#[test]
fn usage_errors_exit_with_two() {
    let bench = Bench::new();
    for arguments in [&["sync"][..], &["frobnicate"], &["documents", "--bogus"], &[]] {
        assert_exit(&bench.kai(arguments), 2);
    }
    assert_exit(&bench.kai(&["--help"]), 0);
    assert_exit(&bench.kai(&["--version"]), 0);
}
