//! What a guest may use up, and which limit it ran into.

use std::fmt;
use std::time::Duration;

/// What one call may use up. Every limit is a call's own: it starts anew with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of guest memory. Default 512 MiB: a 64 MiB answer, its parsed form and its Markdown.
    pub memory: usize,
    /// Elements of all of the guest's tables. Default 100,000.
    pub table_elements: usize,
    /// Handles (requests, bodies, streams, pollables) at once. Default 1,000.
    pub handles: usize,
    /// Time that the guest computes, waits left out. Default 60 s; enforced to 10 ms.
    pub cpu: Duration,
    /// Time from start to end, waits at the gate and for a Retry-After left out. Default 5 minutes.
    pub wall: Duration,
    /// Bytes of a result (and of any text or list that the guest hands to the host). Default 128 MiB.
    pub result: usize,
    /// Bytes of the body of one HTTP answer, decompressed. Default 64 MiB.
    pub response_body: usize,
    /// Bytes of log lines that are kept of a call; the rest is dropped and counted. Default 16 KiB.
    pub log: usize,
    /// HTTP requests of one call. Default 1,000.
    pub requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 512 << 20,
            table_elements: 100_000,
            handles: 1_000,
            cpu: Duration::from_secs(60),
            wall: Duration::from_secs(300),
            result: 128 << 20,
            response_body: 64 << 20,
            log: 16 << 10,
            requests: 1_000,
        }
    }
}

impl Limits {
    /// The narrower of both, limit by limit.
    #[must_use]
    pub fn narrowed_by(self, other: Self) -> Self {
        Self {
            memory: self.memory.min(other.memory),
            table_elements: self.table_elements.min(other.table_elements),
            handles: self.handles.min(other.handles),
            cpu: self.cpu.min(other.cpu),
            wall: self.wall.min(other.wall),
            result: self.result.min(other.result),
            response_body: self.response_body.min(other.response_body),
            log: self.log.min(other.log),
            requests: self.requests.min(other.requests),
        }
    }
}

/// The limit that a call ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::memory`].
    Memory,
    /// [`Limits::table_elements`].
    TableElements,
    /// [`Limits::handles`].
    Handles,
    /// [`Limits::cpu`].
    Cpu,
    /// [`Limits::wall`].
    Wall,
    /// [`Limits::result`].
    Result,
    /// Headers that the guest writes for one request; not adjustable (16 KiB).
    Headers,
    /// The call stack; not adjustable (512 KiB).
    Stack,
}

impl Limit {
    /// The limit in words; also its label in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::TableElements => "table elements",
            Self::Handles => "handles",
            Self::Cpu => "computing time",
            Self::Wall => "running time",
            Self::Result => "size of the result",
            Self::Headers => "size of request headers",
            Self::Stack => "depth of the call stack",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_can_only_narrow_what_the_host_allows() {
        let wanted = Limits { memory: 1, cpu: Duration::MAX, ..Limits::default() };
        let both = Limits::default().narrowed_by(wanted);
        assert_eq!((both.memory, both.cpu), (1, Limits::default().cpu));
    }
}
