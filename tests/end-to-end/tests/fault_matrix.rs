//! Every way in which an answer can be wrong, at every place where a full run asks: what the run ends with, and that it
//! loses and removes nothing.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use confluence_site::{Condition, Fault, RetryAfter, Site};
use futures::{StreamExt as _, stream};
use kai::error::{Error, exit};
use kai::sync::Outcome;
use kai_host::{Connector, RetryPolicy};

use support::{Tenant, assert_complete, host, load, registration};

/// Where in a full run an answer goes wrong, and keeps going wrong until the run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    SpaceListing,
    FirstPages,
    MiddlePages,
    LastPages,
    /// A page whose version differs from the store's.
    Fetch,
    /// A stored page that the listing did not show.
    Confirmation,
}

const PLACES: [Place; 6] = [
    Place::SpaceListing,
    Place::FirstPages,
    Place::MiddlePages,
    Place::LastPages,
    Place::Fetch,
    Place::Confirmation,
];

/// What the run may end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// An error with this exit code: the next run goes on.
    Refused(u8),
    /// It came to its end with this many pages in the list of failures.
    Complete { failed: u64 },
}

/// A site, a store that has all of it, and then an edited and a purged page that a full run has to find.
struct Scene {
    site: Site,
    tenant: Tenant,
    edited: String,
    purged: String,
}

const PAGES: usize = 60;

async fn scene(connector: &Connector) -> Scene {
    let site = Site::builder().spaces(1).pages(PAGES).start().await.unwrap();
    site.with_state(|state| state.quirks.page_cap = 20);
    let tenant = Tenant::on(connector.clone(), registration(&site));
    assert_complete(&tenant.sync().await);
    let (edited, purged) = site.with_state(|state| {
        let pages = state.visible_pages();
        let (edited, purged) = (pages[25].id.clone(), pages[31].id.clone());
        state.edit(&edited, None);
        state.purge(&purged);
        (edited, purged)
    });
    site.forget();
    Scene { site, tenant, edited, purged }
}

impl Scene {
    /// What the request of that place has in its path and query, and no request before it has.
    fn request_of(&self, place: Place, listings: &[String]) -> String {
        match place {
            Place::SpaceListing => "/api/v2/spaces?".to_owned(),
            Place::FirstPages => "/pages?".to_owned(),
            Place::MiddlePages => listings[1].clone(),
            Place::LastPages => listings[listings.len() - 1].clone(),
            Place::Fetch => format!("/pages/{}", self.edited),
            Place::Confirmation => format!("/pages/{}", self.purged),
        }
    }
}

/// The requests of an undisturbed full run that list pages. The same seed gives the same ids and cursors.
async fn page_listings(connector: &Connector) -> Vec<String> {
    let scene = scene(connector).await;
    assert_complete(&scene.tenant.sync_full().await);
    scene.tenant.assert_equals(&scene.site);
    let log = scene.site.log();
    let listings: Vec<String> =
        log.into_iter().map(|seen| seen.path_and_query).filter(|path| path.contains("/pages?")).collect();
    assert!(listings.len() >= 3, "{listings:?}");
    listings
}

/// The name of each fault, and the fault at a place: some need to know the request that they answer.
fn fault(name: &str, request: &str, listings: &[String]) -> Fault {
    let empty_with_next =
        |next: &str| Fault::Json(200, format!(r#"{{"results":[],"_links":{{"next":"{next}"}}}}"#));
    match name {
        "401" => Fault::Unauthorized,
        "403" => Fault::Status(403),
        "404 that names another" => Fault::Json(
            404,
            r#"{"errors":[{"status":404,"code":"NOT_FOUND","title":"Cannot find a page with id [1]"}]}"#
                .into(),
        ),
        "404 that names nothing" => Fault::GenericNotFound,
        "429 without a header" => Fault::RateLimited(RetryAfter::Absent),
        "500" => Fault::Status(500),
        "503" => Fault::Unavailable(RetryAfter::Absent),
        "reset" => Fault::Reset,
        "empty body" => Fault::Json(200, String::new()),
        "HTML" => Fault::Status(200),
        "truncated JSON" => Fault::Json(200, r#"{"results":[{"id":"1","#.into()),
        "repeated cursor" => {
            // Of a request without a cursor, one that a later request has; asked for again and again.
            let with_cursor = if request.contains("cursor=") { request } else { &listings[1] };
            empty_with_next(with_cursor)
        }
        // Once, and then the stretch that the link leads to: what the empty one left out was never listed.
        "empty page with next" => {
            let at = listings.iter().position(|listing| listing.contains(request));
            let next = at.and_then(|at| listings.get(at + 1).or(listings.last()));
            empty_with_next(next.map_or("/wiki/api/v2/spaces?cursor=bm9uZQ==", String::as_str))
        }
        "next on another host" => empty_with_next("https://evil.example/wiki/api/v2/spaces?cursor=x"),
        "nothing" => Fault::Json(200, r#"{"results":[],"_links":{}}"#.into()),
        other => panic!("{other}"),
    }
}

fn expected(name: &str, place: Place) -> End {
    use Place::{Confirmation, Fetch, FirstPages, MiddlePages, SpaceListing};
    let single = matches!(place, Fetch | Confirmation);
    match (name, place) {
        ("401" | "404 that names another" | "404 that names nothing", _) => {
            End::Refused(exit::AUTHENTICATION)
        }
        ("429 without a header", _) => End::Refused(exit::RATE_LIMITED),
        // The account may list the page, or could read it once, and is not let in now.
        ("403", _) if single => End::Complete { failed: 1 },
        ("403", _) => End::Refused(exit::AUTHENTICATION),
        // Everything is asked for one by one then, and only a person can say that so much is gone.
        ("nothing", SpaceListing) => End::Refused(exit::UNAVAILABLE),
        // There the link can only lead to the very same stretch, which is a circle.
        ("empty page with next", FirstPages | MiddlePages) => End::Complete { failed: 0 },
        ("nothing", _) if !single => End::Complete { failed: 0 },
        (_, _) if single => End::Complete { failed: 1 },
        (_, _) => End::Refused(exit::UNAVAILABLE),
    }
}

const FAULTS: [&str; 15] = [
    "401",
    "403",
    "404 that names another",
    "404 that names nothing",
    "429 without a header",
    "500",
    "503",
    "reset",
    "empty body",
    "HTML",
    "truncated JSON",
    "repeated cursor",
    "empty page with next",
    "next on another host",
    "nothing",
];

fn end_of(outcome: &Outcome) -> End {
    match &outcome.error {
        Some(error) => End::Refused(Error::exit_code(error)),
        None => End::Complete { failed: outcome.summary.documents.failed },
    }
}

/// Runs a full run into the fault, and one after it is mended. Answers what the first one ended with, if not as expected.
async fn surprise(
    connector: &Connector,
    name: &'static str,
    place: Place,
    listings: &[String],
) -> Option<String> {
    let scene = scene(connector).await;
    let case = format!("{name} at {place:?}");
    let tokens = scene.tenant.delta_tokens();
    let request = scene.request_of(place, listings);
    let times = if name == "empty page with next" { 1 } else { usize::MAX };
    scene.site.inject(fault(name, &request, listings), times, Condition::Path(request.clone()));
    let outcome = scene.tenant.sync_full().await;
    assert!(scene.site.log().iter().any(|seen| seen.path_and_query.contains(&request)), "{case}: never met");

    let kept = scene.tenant.documents();
    for page in scene.site.with_state(|state| state.visible_pages()) {
        assert!(kept.contains_key(&page.id), "{case}: {} exists and is removed", page.id);
    }
    // What is gone may only go with a run that came to its end, and so may the token move.
    if outcome.error.is_some() {
        assert!(kept.contains_key(&scene.purged), "{case}: removed by a run that failed");
        let listed = matches!(place, Place::Confirmation);
        assert!(listed || scene.tenant.delta_tokens() == tokens, "{case}: the token moved");
    }
    let found = end_of(&outcome);
    let surprise =
        (found != expected(name, place)).then(|| format!("{case}: {found:?}, {:?}", outcome.error));

    scene.site.heal();
    let outcome = scene.tenant.sync_full().await;
    assert_complete(&outcome);
    assert_eq!(outcome.summary.documents.failed, 0, "{case}");
    scene.tenant.assert_equals(&scene.site);
    surprise
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_at_any_place_loses_or_removes_a_page_that_exists() {
    let mut retry = RetryPolicy::default();
    retry.backoff = Duration::from_millis(1);
    retry.longest_backoff = Duration::from_millis(2);
    let connector = load(&host().retry(retry).build().unwrap()).await;
    let listings = page_listings(&connector).await;
    let cases = PLACES.into_iter().flat_map(|place| FAULTS.map(|name| (name, place)));
    let surprises: Vec<String> = stream::iter(cases)
        .map(|(name, place)| surprise(&connector, name, place, &listings))
        .buffer_unordered(6)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}
