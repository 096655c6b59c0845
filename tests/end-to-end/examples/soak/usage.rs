//! What the process takes of the machine.

use std::fs;

/// What the process holds at a moment. Descriptors are none where the system does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) tasks: usize,
    pub(crate) descriptors: Option<usize>,
    pub(crate) sockets: Option<usize>,
}

impl Held {
    /// Inside of a runtime.
    pub(crate) fn now() -> Self {
        let links: Option<Vec<_>> = fs::read_dir("/proc/self/fd").ok().map(|entries| {
            // The listing itself has a descriptor, which is closed by the time that its link is read.
            entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
        });
        let is_socket = |link: &&std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
        Self {
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            sockets: links.as_ref().map(|links| links.iter().filter(is_socket).count()),
            descriptors: links.map(|links| links.len()),
        }
    }
}

/// Resident memory in KiB; none where the system does not say.
pub(crate) fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The medians of the four quarters of a time; none where there is not a sample for each.
pub(crate) fn quarters(samples: &[u64]) -> Option<[u64; 4]> {
    let quarter = samples.len().div_ceil(4).max(1);
    let medians: Vec<u64> = samples
        .chunks(quarter)
        .filter_map(|chunk| {
            let mut sorted = chunk.to_vec();
            sorted.sort_unstable();
            sorted.get(sorted.len() / 2).copied()
        })
        .collect();
    medians.try_into().ok()
}
