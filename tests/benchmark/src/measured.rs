//! A measurement in a process of its own: its side of it, and that of whoever starts it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use cpu_time::ProcessTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::Failure;

/// What a piece of work took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    /// User and system time of all threads.
    pub(crate) cpu_seconds: f64,
    /// The most that the process had resident, from its start.
    pub(crate) peak_mib: f64,
    /// Bytes given to `write` and its like: of a sync, what goes to the database and its log.
    pub(crate) written: u64,
}

/// Measures from its beginning on.
pub(crate) struct Meter {
    began: Instant,
    cpu: ProcessTime,
    written: u64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { written: written(), began: Instant::now(), cpu: ProcessTime::now() }
    }

    pub(crate) fn read(&self) -> Usage {
        Usage {
            seconds: self.began.elapsed().as_secs_f64(),
            cpu_seconds: self.cpu.elapsed().as_secs_f64(),
            peak_mib: status("VmHWM"),
            written: written() - self.written,
        }
    }
}

/// Resident memory of this process, MiB.
pub(crate) fn resident_mib() -> f64 {
    status("VmRSS")
}

/// A field of `/proc/self/status` in MiB; 0 where the system has none.
fn status(field: &str) -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

fn written() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar:"));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// Runs a task of this program in a new process, and takes the figures that it prints.
pub(crate) async fn run<T: DeserializeOwned>(component: &Path, arguments: &[&str]) -> Result<T, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .arg("--component")
        .arg(component)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        return Err(format!("{arguments:?} failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
