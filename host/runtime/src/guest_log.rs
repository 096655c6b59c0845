//! What a guest writes to stdout and stderr: bounded, escaped lines for the operator's log.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tracing::warn;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// Longest line that is kept, in bytes.
const LINE: usize = 1024;

/// The log of one call.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<State>>);

struct State {
    /// Bytes that may still be logged.
    left: usize,
    line: Vec<u8>,
    last: Option<String>,
    dropped: u64,
}

impl GuestLog {
    /// Keeps `limit` bytes; the rest is dropped and counted.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(State { left: limit, line: Vec::new(), last: None, dropped: 0 })))
    }

    /// Ends an unfinished line and says what was dropped. Gives the last line: a panic's text, where one was written.
    pub(crate) fn finish(&self) -> Option<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.end_line();
        if state.dropped > 0 {
            warn!(target: "kai_host::guest", bytes = state.dropped, "guest log cut");
        }
        state.last.clone()
    }
}

impl State {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line();
            } else if self.left == 0 || self.line.len() == LINE {
                self.dropped += 1;
            } else {
                self.left -= 1;
                self.line.push(*byte);
            }
        }
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            // Escaped: a guest must not be able to write lines of its own into the log, nor drive a terminal.
            let line: String = String::from_utf8_lossy(&self.line).escape_debug().collect();
            warn!(target: "kai_host::guest", "{line}");
            self.last = Some(line);
            self.line.clear();
        }
    }
}

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for GuestLog {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_control_characters_are_escaped() {
        let log = GuestLog::new(20);
        {
            let mut state = log.0.lock().unwrap();
            state.write(b"\x1b[31mred\nINFO forged\n");
            state.write(&[b'x'; 100_000]);
            assert!(state.line.len() <= 20 && state.dropped >= 99_980);
        }
        let last = log.finish().unwrap();
        assert!(!last.contains('\x1b'));
    }
}
