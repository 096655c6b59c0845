//! What was found, and the figures.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// Of each check so many violations are told one by one.
const TOLD: u64 = 10;

/// Violations, by the check that they violate.
#[derive(Default)]
pub(crate) struct Findings(Mutex<BTreeMap<&'static str, u64>>);

impl Findings {
    /// Tells it at once: a soak that is ended early has told what it found.
    pub(crate) fn add(&self, check: &'static str, what: String) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = found.entry(check).or_default();
        *times += 1;
        if *times <= TOLD {
            println!("VIOLATED: {check}: {what}");
        }
    }

    /// Adds a violation where a check does not hold.
    pub(crate) fn check(&self, holds: bool, check: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.add(check, what());
        }
    }

    /// The violated checks with the number of times.
    pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().map(|(check, times)| (*check, *times)).collect()
    }
}

/// One row of the table of figures.
pub(crate) fn row(name: &str, value: impl Display) {
    println!("  {name:<34} {value}");
}

/// Rows of a group.
pub(crate) fn rows<N: Display>(group: &str, values: impl IntoIterator<Item = (N, u64)>) {
    println!("  {group}");
    for (name, value) in values {
        println!("    {:<32} {value}", name.to_string());
    }
}
