//! A call's own clock: it stands still while the call waits at the gate, which is no fault of the call.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long one call has run, waits at the gate left out.
pub(crate) struct CallClock {
    state: Mutex<State>,
}

struct State {
    /// Time that ran before `running_since`.
    run: Duration,
    /// None while the clock stands still.
    running_since: Option<Instant>,
    /// How many waits are under way: a guest may have several requests at once.
    waits: usize,
}

/// The clock stands still until this is dropped.
pub(crate) struct Wait<'a> {
    clock: &'a CallClock,
}

impl CallClock {
    pub(crate) fn start() -> Self {
        let state = State { run: Duration::ZERO, running_since: Some(Instant::now()), waits: 0 };
        Self { state: Mutex::new(state) }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.lock().elapsed()
    }

    /// Stops the clock.
    pub(crate) fn wait(&self) -> Wait<'_> {
        let mut state = self.lock();
        state.run = state.elapsed();
        state.running_since = None;
        state.waits += 1;
        Wait { clock: self }
    }

    /// Ends once the clock shows `limit`.
    pub(crate) async fn reaches(&self, limit: Duration) {
        loop {
            let left = limit.saturating_sub(self.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn elapsed(&self) -> Duration {
        self.run + self.running_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = self.clock.lock();
        state.waits = state.waits.saturating_sub(1);
        if state.waits == 0 {
            state.running_since = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn waits_do_not_count() {
        let clock = CallClock::start();
        advance(Duration::from_secs(2)).await;
        let first = clock.wait();
        advance(Duration::from_secs(100)).await;
        let second = clock.wait();
        drop(first);
        advance(Duration::from_secs(100)).await;
        assert_eq!(clock.elapsed(), Duration::from_secs(2));
        drop(second);
        advance(Duration::from_secs(3)).await;
        assert_eq!(clock.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_moves_with_the_waits() {
        let clock = CallClock::start();
        let began = Instant::now();
        let work = async {
            let wait = clock.wait();
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(wait);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = clock.reaches(Duration::from_secs(10)) => {}
            () = work => {}
        }
        assert_eq!(began.elapsed(), Duration::from_secs(70));
    }
}
