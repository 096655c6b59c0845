//! Short histories of many seeds. Long ones, for hours: `make simulate`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use simulation::{simulate, simulate_many};

const SEEDS: u64 = 2_000;

/// Processes of a history, on average.
const LENGTH: u32 = 5;

/// `SIMULATION_SEED=n` plays one seed and tells what happened in it.
#[test]
fn a_store_ends_up_equal_to_its_site_and_no_page_that_exists_is_ever_removed() {
    let report = match std::env::var("SIMULATION_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => simulate(seed, LENGTH).unwrap(),
        None => simulate_many(0, LENGTH, |seed| seed < SEEDS, |_| {}).unwrap(),
    };
    println!("{}\n{report}", report.trace.join("\n"));
    assert!(report.findings.is_empty(), "{}", report.findings.join("\n"));
}
