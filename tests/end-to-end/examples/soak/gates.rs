//! Whether the host leaves a site alone for as long as it asked, exactly.
//!
//! When a request reaches a site during a `Retry-After`, the site cannot tell whether it was under way already when
//! the host read the answer. The host's own count can: it counts a request before it sends it. So, from the moment in
//! which the host says that it pauses until the time that the site named (or later), to that time, its count for the
//! site must stand still. That the count is honest is a check of its own: no site may see more requests than were
//! counted. And that the host pauses at all is one more: the pauses that it never knew of are no more than the answers
//! that asked for one and got lost, as those of runs that were given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::report::Findings;
use crate::world::{Place, World};

/// How often each site is looked at. What is sent between a pause's beginning and the next look is not seen, so this is
/// short.
const LOOK: Duration = Duration::from_millis(2);
/// The host may read an answer long after it was sent when the machine is busy.
const READ_AT_LAST: Duration = Duration::from_secs(5);

/// What was seen of pauses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pauses {
    /// That a site asked for, and the host kept.
    pub(crate) kept: u64,
    /// That the host never learned of.
    pub(crate) unknown: u64,
    /// Times that a site was looked at during a pause.
    pub(crate) looks: u64,
}

/// Looks at all sites until it is stopped.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    // A thread of its own: the tasks of a busy runtime come too late.
    thread: JoinHandle<Pauses>,
}

impl Watch {
    pub(crate) fn begin(world: Arc<World>, findings: Arc<Findings>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("gates".to_owned()).spawn(move || {
            let mut sites: Vec<Seen> = world.places.iter().map(|_| Seen::default()).collect();
            let mut pauses = Pauses::default();
            while !stopped.load(Ordering::Relaxed) {
                for (number, (place, seen)) in world.places.iter().zip(&mut sites).enumerate() {
                    if let Err(what) = seen.look(place, &mut pauses) {
                        findings.add("a request during a Retry-After", format!("site {number}: {what}"));
                    }
                }
                thread::sleep(LOOK);
            }
            pauses
        })?;
        Ok(Self { stop, thread })
    }

    pub(crate) fn end(self) -> Pauses {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// What was seen of one site.
#[derive(Default)]
struct Seen {
    /// The end of the last pause that was looked at.
    asked: Option<Instant>,
    /// Of that: whether the host is known to know of it.
    known: bool,
    /// Whether there were times without a session, in which nobody can say what the host knows.
    silent: bool,
    /// A pause that the host keeps: its end, and the host's count.
    kept: Option<(Instant, u64)>,
}

impl Seen {
    fn look(&mut self, place: &Place, pauses: &mut Pauses) -> Result<(), String> {
        let asked = place.site.quiet_until();
        if asked != self.asked {
            self.asked = asked;
            // A time that is over when it is named first asks for nothing.
            self.known = asked.is_none_or(|until| until <= Instant::now());
            self.silent = false;
        }
        let Some(paused) = place.paused_until() else {
            self.silent = true;
            return Ok(());
        };
        let requests = place.requests();
        let now = Instant::now();
        if let Some((until, counted)) = self.kept {
            if now >= until {
                self.kept = None;
            } else {
                pauses.looks += 1;
                if requests != counted || paused.is_none_or(|paused| paused < until) {
                    self.kept = None;
                    let left = (until - now).as_millis();
                    let sent = requests.saturating_sub(counted);
                    let reopens = paused.map(|paused| paused.saturating_duration_since(now).as_millis());
                    return Err(format!(
                        "{sent} requests sent with {left} ms to go; the host pauses for {reopens:?} ms"
                    ));
                }
            }
        }
        let Some(until) = self.asked.filter(|_| !self.known) else { return Ok(()) };
        if paused.is_some_and(|paused| paused >= until) {
            self.known = true;
            pauses.kept += 1;
            if now < until {
                self.kept = Some((until, requests));
            }
        } else if now > until + READ_AT_LAST {
            self.known = true;
            pauses.unknown += u64::from(!self.silent);
        }
        Ok(())
    }
}
