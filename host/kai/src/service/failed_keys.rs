//! Slows down those who try keys.
//!
//! A good key is let in all the same, by its header: keys are too random to be found by trying, and behind a proxy
//! everybody has one address, so that one with a wrong key would lock out all the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures of one address that are free.
const FREE: u32 = 10;

/// One more is free after this time.
const PAYS_OFF: Duration = Duration::from_secs(6);

/// Addresses that are remembered. Beyond, those that failed longest ago are forgotten.
const REMEMBERED: usize = 10_000;

/// Who gave keys that are none.
#[derive(Default)]
pub(crate) struct FailedKeys(Mutex<HashMap<IpAddr, Failures>>);

/// A bucket that fills with failures and leaks.
#[derive(Clone, Copy)]
struct Failures {
    count: f64,
    at: Instant,
}

impl Failures {
    fn left(self, now: Instant) -> f64 {
        let leaked = now.saturating_duration_since(self.at).as_secs_f64() / PAYS_OFF.as_secs_f64();
        (self.count - leaked).max(0.0)
    }
}

impl FailedKeys {
    /// How long this address has to wait before it is heard again.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = failures.get(&network(address))?.left(now) - f64::from(FREE) + 1.0;
        (over > 0.0).then(|| PAYS_OFF.mul_f64(over))
    }

    /// A key of this address let nobody in.
    pub(crate) fn note(&self, address: IpAddr, now: Instant) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= REMEMBERED {
            failures.retain(|_, known| known.left(now) > 0.0);
        }
        if failures.len() >= REMEMBERED {
            let oldest = failures.iter().min_by_key(|(_, known)| known.at).map(|(address, _)| *address);
            oldest.map(|address| failures.remove(&address));
        }
        let known = failures.entry(network(address)).or_insert(Failures { count: 0.0, at: now });
        *known = Failures { count: known.left(now) + 1.0, at: now };
    }
}

/// Whoever has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_failures_have_to_wait_and_others_do_not() {
        let failed = FailedKeys::default();
        let (here, there): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let now = Instant::now();
        for _ in 0..FREE {
            assert_eq!(failed.wait(here, now), None);
            failed.note(here, now);
        }
        assert_eq!(failed.wait(here, now), Some(PAYS_OFF));
        assert_eq!(failed.wait(there, now), None);
        assert_eq!(failed.wait(here, now + PAYS_OFF + Duration::from_millis(1)), None);
        failed.note(here, now + PAYS_OFF);
        assert!(failed.wait(here, now + PAYS_OFF).is_some());
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let failed = FailedKeys::default();
        let now = Instant::now();
        for number in 0..FREE {
            failed.note(format!("2001:db8::{number:x}").parse().unwrap(), now);
        }
        assert!(failed.wait("2001:db8::ffff".parse().unwrap(), now).is_some());
        assert_eq!(failed.wait("2001:db8:0:1::1".parse().unwrap(), now), None);
    }

    #[test]
    fn no_more_are_remembered_than_fit() {
        let failed = FailedKeys::default();
        let now = Instant::now();
        for number in 0..REMEMBERED as u32 + 100 {
            failed.note(IpAddr::V4(number.into()), now);
        }
        assert!(failed.0.lock().unwrap().len() <= REMEMBERED);
    }
}
