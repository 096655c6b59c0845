//! What tests of the program share: how it is run, and how its end is looked at.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use confluence_site::Site;
use serde_json::{Value, json};

/// A directory with a source file, a data directory and a configuration of its own, and a cache that all tests share.
pub struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    pub fn source(&self, fields: &Value) -> String {
        self.write("source.json", &source_text(fields))
    }

    pub fn kai(&self, arguments: &[&str]) -> Output {
        self.kai_with(arguments, "", &[])
    }

    pub fn kai_with(&self, arguments: &[&str], stdin: &str, environment: &[(&str, &str)]) -> Output {
        let mut child = self.start(arguments, environment);
        // It may end without having read it.
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
        child.wait_with_output().unwrap()
    }

    /// A process that goes on by itself; whatever it prints goes into pipes.
    pub fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_kai"))
            .args(arguments)
            .current_dir(self.directory.path())
            .env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env_remove("KAI_API_TOKEN")
            .env_remove("KAI_MASTER_KEY")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

pub fn source_text(fields: &Value) -> String {
    let mut document = json!({
        "kind": "CONFLUENCE", "base_url": "https://acme.example", "email": Site::EMAIL, "api_token": Site::TOKEN,
    });
    for (field, value) in fields.as_object().unwrap() {
        document[field] = value.clone();
    }
    document.to_string()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout: {}\nstderr: {}", stdout(output), stderr(output));
}

/// The command fails with this code and one message that holds all of these.
#[track_caller]
pub fn assert_refused(output: &Output, code: i32, told: &[&str]) {
    assert_exit(output, code);
    let message = stderr(output);
    assert!(message.starts_with("kai: ") && message.trim_end().lines().count() == 1, "{message}");
    for part in told {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
    assert!(!message.contains(Site::TOKEN), "{message}");
}

pub fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The program runs in a process of its own; the site needs this one's threads meanwhile.
pub async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    tokio::task::spawn_blocking(work).await.unwrap()
}
