//! Long histories of ever new seeds: `make simulate`.
//!
//! Read from the environment: SIMULATION_MINUTES (10), SIMULATION_FIRST_SEED (1,000,000), SIMULATION_LENGTH (40, processes
//! of a history on average). A seed that found something is played again by `SIMULATION_SEED=n SIMULATION_LENGTH=l`.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use simulation::{simulate, simulate_many};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> std::io::Result<ExitCode> {
    let length = u32::try_from(number("SIMULATION_LENGTH", 40)).unwrap_or(u32::MAX);
    if std::env::var_os("SIMULATION_SEED").is_some() {
        let report = simulate(number("SIMULATION_SEED", 0), length)?;
        println!("{}\n{report}", report.trace.join("\n"));
        return Ok(ExitCode::from(u8::from(!report.findings.is_empty())));
    }
    let end = Instant::now() + Duration::from_secs(60 * number("SIMULATION_MINUTES", 10));
    let first = number("SIMULATION_FIRST_SEED", 1_000_000);
    println!("seeds from {first} on, {length} processes each on average");
    let report = simulate_many(
        first,
        length,
        |_| Instant::now() < end,
        |report| {
            for finding in &report.findings {
                println!("{finding}");
            }
        },
    )?;
    println!("{report}");
    Ok(ExitCode::from(u8::from(!report.findings.is_empty())))
}
