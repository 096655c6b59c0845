//! Many histories, on all cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, thread};

use crate::simulate::{Report, simulate};

/// Plays seeds from `first` on, on every core, as long as `more` says yes to the next one; gives the sum of all.
///
/// # Errors
/// See [`simulate`].
pub fn simulate_many(
    first: u64,
    length: u32,
    more: impl Fn(u64) -> bool + Sync,
    each: impl Fn(&Report) + Sync,
) -> io::Result<Report> {
    let next = AtomicU64::new(first);
    let play = || {
        let mut sum = Report::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !more(seed) {
                return Ok(sum);
            }
            let report = simulate(seed, length)?;
            each(&report);
            sum.add(report);
        }
    };
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        let mut sum = Report::default();
        for thread in threads {
            let part: io::Result<Report> =
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a history panicked")));
            sum.add(part?);
        }
        Ok(sum)
    })
}
