//! A sync against a site that changes, lies and fails between any two requests, and in processes that die: from a seed,
//! so that whatever it finds happens again.
//!
//! [`simulate()`] makes a site and a history from a seed, and runs the connector's own code under the sync engine with the
//! SQLite store. Nothing in it waits, and one thread runs it all: the clock is the site's, tasks take turns by the seed.
//! What must hold is checked after every run that came to its end (what is in sight is stored), at every removal (it was
//! out of sight) and at the end, when the store has to equal the site.

mod crashing_store;
mod many;
mod native_calls;
mod simulate;
mod world;

pub use many::simulate_many;
pub use simulate::{Report, simulate};
