//! A Confluence Cloud site that runs inside the process, for tests and for `kai demo`.
//!
//! It answers the three REST v2 endpoints that a reader needs as Confluence does, quirks included: archived pages in
//! default listings, a 404 that names nothing for a rejected credential, a `next` that already holds `/wiki`, trashed
//! pages that are 200 by id. What it serves follows from a seed. Tests change it while it runs ([`State`]), make it
//! fail ([`Fault`]), and ask what it saw ([`Statistics`], [`Seen`]).
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use confluence_site::{Condition, Fault, RetryAfter, Site};
//!
//! let site = Site::builder().pages(100).start().await?;
//! site.inject(Fault::RateLimited(RetryAfter::Seconds(1.0)), 1, Condition::Nth(3));
//! site.with_state(|state| state.create_page("ENG", "News", Some("<p>Hello</p>")));
//! println!("{} saw {} requests", site.base_url(), site.statistics().requests);
//! # Ok(())
//! # }
//! ```

mod endpoints;
mod faults;
mod server;
mod state;
mod storage_text;

pub use faults::{Condition, Fault, RetryAfter};
pub use server::{Seen, Site, SiteBuilder, Statistics};
pub use state::{PageStatus, PageView, PlainAnswer, Quirks, SpaceStatus, SpaceView, State};
