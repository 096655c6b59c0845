//! `confluence-site` in a process of its own.

use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::Failure;

/// A running site; it ends with this value.
pub(crate) struct SiteProcess {
    pub(crate) base_url: String,
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What a site holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) spaces: usize,
    pub(crate) pages: usize,
    pub(crate) page_bytes: usize,
}

/// What was asked of a site.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    pub(crate) requests: u64,
    pub(crate) max_in_flight: u64,
    pub(crate) bytes: u64,
    /// Requests for the pages of the space that most were for.
    pub(crate) longest_listing: u64,
}

impl Asked {
    /// Requests that came one after the other at least: that for the spaces, then those of the longest listing.
    pub(crate) fn in_sequence(&self) -> u64 {
        1 + self.longest_listing
    }
}

impl SiteProcess {
    /// Starts one, which lies beside this program, and waits until it listens.
    pub(crate) async fn start(content: Content) -> Result<Self, Failure> {
        let program = std::env::current_exe()?.with_file_name("confluence-site");
        let mut child = Command::new(&program)
            .args(["--spaces", &content.spaces.to_string()])
            .args(["--pages", &content.pages.to_string()])
            .args(["--page-bytes", &content.page_bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}; `make bench` builds it", program.display()))?;
        let commands = child.stdin.take().ok_or("the site has no standard input")?;
        let output = child.stdout.take().ok_or("the site has no standard output")?;
        let mut answers = BufReader::new(output).lines();
        let mut base_url = None;
        // The address, whose account it accepts, and how to end it.
        while let Some(line) = answers.next_line().await? {
            if let Some(url) = line.strip_prefix("base URL") {
                base_url = Some(url.trim().to_owned());
            }
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        let base_url = base_url.ok_or("the site did not start")?;
        Ok(Self { base_url, child, commands, answers })
    }

    /// See the commands of `confluence-site`.
    async fn command(&mut self, command: &str) -> Result<String, Failure> {
        self.commands.write_all(format!("{command}\n").as_bytes()).await?;
        self.answers.next_line().await?.ok_or_else(|| "the site has ended".into())
    }

    pub(crate) async fn set_latency(&mut self, milliseconds: u64) -> Result<(), Failure> {
        self.command(&format!("latency {milliseconds}")).await.map(drop)
    }

    /// Makes a new version of `count` pages.
    pub(crate) async fn edit(&mut self, count: u64) -> Result<(), Failure> {
        let answer = self.command(&format!("edit {count}")).await?;
        if answer == format!("edited {count}") { Ok(()) } else { Err(answer.into()) }
    }

    /// Lets others have the processors first.
    pub(crate) fn give_way(&self) -> Result<(), Failure> {
        let id = self.child.id().ok_or("the site has ended")?;
        let mut renice = std::process::Command::new("renice");
        renice.args(["-n", "15", "-p"]);
        // Each thread has a priority of its own.
        for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
            renice.arg(thread?.file_name());
        }
        let output = renice.output()?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
    }

    /// What was asked since the last time.
    pub(crate) async fn asked(&mut self) -> Result<Asked, Failure> {
        Ok(serde_json::from_str(&self.command("statistics").await?)?)
    }
}
