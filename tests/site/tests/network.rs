//! Faults, and what the site counts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are test code too, which clippy does not see"
)]

mod common;

use std::time::{Duration, Instant};

use common::{client, get, send};
use confluence_site::{Condition, Fault, RetryAfter, Site};

const SPACES: &str = "/wiki/api/v2/spaces";

async fn site() -> Site {
    Site::builder().start().await.unwrap()
}

#[tokio::test]
async fn requests_are_counted() {
    let site = site().await;
    get(&site, SPACES).await;
    get(&site, &format!("/wiki/api/v2/spaces/{}/pages", common::space_id(&site, "ENG"))).await;
    get(&site, "/wiki/api/v2/pages/1").await;
    for path in ["/", "/wiki/api/v2/pages", "/wiki/rest/api/content", "/ex/confluence//wiki/api/v2/spaces"] {
        let response = send(&site, path).await.unwrap();
        assert_eq!(response.status(), 404);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    }
    let posted = client().post(format!("{}{SPACES}", site.base_url())).send().await.unwrap();
    assert_eq!(posted.status(), 405);
    posted.bytes().await.unwrap();
    let seen = site.statistics();
    assert_eq!((seen.requests, seen.unknown_paths, seen.in_flight), (8, 4, 0));
    assert_eq!(seen.by_endpoint["spaces"], 2);
    assert_eq!(seen.by_endpoint["space-pages"], 1);
    assert_eq!(seen.by_endpoint["page"], 1);
    assert!(seen.bytes > 1000);
    assert_eq!(site.log().len(), 8);
    assert_eq!(site.log()[0].path_and_query, SPACES);
    assert_eq!(site.log()[0].status, 200);
    site.forget();
    assert_eq!(site.statistics().requests, 0);
    get(&site, SPACES).await;
    assert_eq!(site.log().len(), 1);
    assert_eq!(site.log()[0].status, 200);
}

#[tokio::test]
async fn requests_in_flight_are_counted() {
    let site = site().await;
    site.set_latency(Duration::from_millis(400));
    let start = Instant::now();
    tokio::join!(get(&site, SPACES), get(&site, SPACES), get(&site, SPACES), get(&site, SPACES));
    assert!(start.elapsed() >= Duration::from_millis(400));
    let seen = site.statistics();
    assert_eq!((seen.max_in_flight, seen.in_flight), (4, 0));
    site.set_latency(Duration::ZERO);
    site.forget();
    for _ in 0..5 {
        get(&site, SPACES).await;
    }
    assert_eq!(site.statistics().max_in_flight, 1);
    // A caller that goes away is no longer in flight.
    site.inject(Fault::Stall(Duration::from_secs(60)), 1, Condition::Any);
    assert!(tokio::time::timeout(Duration::from_millis(200), send(&site, SPACES)).await.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(site.statistics().in_flight, 0);
}

#[tokio::test]
async fn the_log_is_as_long_as_it_was_told_to_be() {
    let site = Site::builder().log_length(2).start().await.unwrap();
    for path in ["/one", "/two", "/three"] {
        send(&site, path).await.unwrap();
    }
    let seen: Vec<_> = site.log().into_iter().map(|seen| (seen.path_and_query, seen.status)).collect();
    assert_eq!(seen, [("/two".to_owned(), 404), ("/three".to_owned(), 404)]);
}

#[tokio::test]
async fn retry_after_has_all_forms_and_is_remembered() {
    let site = site().await;
    let header = async |after| {
        site.inject(Fault::RateLimited(after), 1, Condition::Any);
        let response = send(&site, SPACES).await.unwrap();
        assert_eq!(response.status(), 429);
        response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header(RetryAfter::Absent).await, None);
    assert_eq!(header(RetryAfter::Raw("soon".to_owned())).await.as_deref(), Some("soon"));
    assert_eq!(site.quiet_until(), None);
    assert_eq!(header(RetryAfter::Seconds(0.0)).await.as_deref(), Some("0"));
    assert_eq!(get(&site, SPACES).await.0, 200);
    assert_eq!(site.statistics().during_retry_after, 0);
    assert_eq!(header(RetryAfter::Seconds(1.5)).await.as_deref(), Some("1.5"));
    assert!(site.quiet_until().unwrap() > std::time::Instant::now());
    get(&site, SPACES).await;
    assert_eq!(site.statistics().during_retry_after, 1);
    tokio::time::sleep(Duration::from_millis(1520)).await;
    get(&site, SPACES).await;
    assert_eq!(site.statistics().during_retry_after, 1);
    let date = header(RetryAfter::Date(Duration::from_secs(60))).await.unwrap();
    let ahead =
        httpdate::parse_http_date(&date).unwrap().duration_since(std::time::SystemTime::now()).unwrap();
    assert!(ahead > Duration::from_secs(55) && ahead <= Duration::from_secs(60));
    site.inject(Fault::Unavailable(RetryAfter::Seconds(1.0)), 1, Condition::Any);
    let response = send(&site, SPACES).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    assert_eq!(site.statistics().during_retry_after, 2);
}

#[tokio::test]
async fn faults_are_what_they_say() {
    let site = site().await;
    let once = |fault| site.inject(fault, 1, Condition::Any);
    once(Fault::Reset);
    assert!(send(&site, SPACES).await.is_err());
    assert_eq!(site.log().last().unwrap().status, 0);
    once(Fault::Truncate);
    let response = send(&site, SPACES).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());
    once(Fault::SlowBody(Duration::from_millis(1000)));
    let start = Instant::now();
    let response = send(&site, SPACES).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(900), "the head is not slow");
    assert_eq!(site.statistics().in_flight, 1);
    let body = response.bytes().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(1000));
    assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
    once(Fault::Stall(Duration::from_millis(100)));
    let start = Instant::now();
    assert_eq!(get(&site, SPACES).await.0, 200);
    assert!(start.elapsed() >= Duration::from_millis(100));
    once(Fault::Garbage);
    let response = send(&site, SPACES).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(serde_json::from_slice::<serde_json::Value>(&response.bytes().await.unwrap()).is_err());
    once(Fault::GenericNotFound);
    assert_eq!(get(&site, SPACES).await.1["errors"][0]["title"], "Not Found");
    once(Fault::Unauthorized);
    assert_eq!(send(&site, SPACES).await.unwrap().status(), 401);
    once(Fault::Json(418, r#"{"a":1}"#.to_owned()));
    assert_eq!(get(&site, SPACES).await, (418, serde_json::json!({ "a": 1 })));
    once(Fault::Status(502));
    assert_eq!(send(&site, SPACES).await.unwrap().status(), 502);
    once(Fault::NearLimit);
    assert_eq!(send(&site, SPACES).await.unwrap().headers()["x-ratelimit-nearlimit"], "true");
    once(Fault::Redirect("http://127.0.0.1:9/x".to_owned()));
    let response = send(&site, SPACES).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &"http://127.0.0.1:9/x".parse().unwrap())
    );
    assert_eq!(get(&site, SPACES).await.0, 200);
}

#[tokio::test]
async fn faults_choose_their_requests() {
    let site = site().await;
    let pages = format!("/wiki/api/v2/spaces/{}/pages", common::space_id(&site, "ENG"));
    site.inject(Fault::Status(500), usize::MAX, Condition::WithBodies);
    site.inject(Fault::Status(502), 2, Condition::Path("/pages/7".to_owned()));
    site.inject(Fault::Status(504), 1, Condition::Nth(3));
    let status = async |path: &str| send(&site, path).await.unwrap().status().as_u16();
    assert_eq!(status(&pages).await, 200);
    assert_eq!(status(&format!("{pages}?body-format=storage")).await, 500);
    assert_eq!(status(&pages).await, 504);
    assert_eq!(status("/wiki/api/v2/pages/7").await, 502);
    assert_eq!(status("/wiki/api/v2/pages/7").await, 502);
    assert_eq!(status("/wiki/api/v2/pages/7").await, 404);
    assert_eq!(status(&format!("{pages}?body-format=storage")).await, 500);
    site.heal();
    assert_eq!(status(&format!("{pages}?body-format=storage")).await, 200);
}

#[tokio::test]
async fn the_content_may_change_between_requests() {
    let site = site().await;
    site.before_each_request(|state, number| {
        if number == 2 {
            state.create_space("NEW", "New");
        }
    });
    assert_eq!(get(&site, SPACES).await.1["results"].as_array().unwrap().len(), 3);
    assert_eq!(get(&site, SPACES).await.1["results"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn the_clock_can_be_wrong_or_absent() {
    let site = site().await;
    site.with_state(|state| state.quirks.clock_skew = chrono::Duration::hours(-5));
    let response = send(&site, SPACES).await.unwrap();
    let date = httpdate::parse_http_date(response.headers()["date"].to_str().unwrap()).unwrap();
    let behind = std::time::SystemTime::now().duration_since(date).unwrap();
    assert!(behind > Duration::from_secs(5 * 3600 - 5) && behind < Duration::from_secs(5 * 3600 + 5));
    site.with_state(|state| state.quirks.send_date = false);
    assert!(!send(&site, SPACES).await.unwrap().headers().contains_key("date"));
}

#[tokio::test]
async fn a_site_stops_with_its_last_handle() {
    let site = site().await;
    let other = site.clone();
    let url = format!("{}{SPACES}", site.base_url());
    drop(site);
    assert!(client().get(&url).send().await.is_ok());
    drop(other);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(client().get(&url).send().await.is_err());
}
