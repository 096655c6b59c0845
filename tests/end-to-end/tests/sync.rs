//! A source in, documents out, through the real component in the real sandbox.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use confluence_site::{Condition, Fault, PageStatus, RetryAfter, Site, SpaceStatus};
use kai::error::{Error, exit};
use kai::summary::Mode;
use kai::sync::SyncOptions;

use support::{Tenant, assert_complete, connector, registration_with};

fn exit_code(outcome: &kai::sync::Outcome) -> u8 {
    outcome.error.as_ref().map_or(0, Error::exit_code)
}

#[tokio::test]
async fn a_first_sync_brings_every_current_page_of_every_visible_space_and_nothing_else() {
    let site = Site::builder().spaces(5).pages(120).start().await.unwrap();
    site.with_state(|state| {
        state.change_space("SP4", SpaceStatus::Archived, true);
        state.change_space("SP5", SpaceStatus::Current, false);
        let ids = state.page_ids();
        state.set_restricted(&ids[1], true);
        assert!(ids.iter().any(|id| state.page(id).unwrap().status == PageStatus::Draft));
    });
    let tenant = Tenant::new(&site).await;
    let outcome = tenant.sync().await;
    assert_complete(&outcome);
    tenant.assert_equals(&site);
    let stored = tenant.documents();
    assert_eq!(outcome.summary.documents.upserted, stored.len() as u64);
    assert_eq!(outcome.summary.partitions, 3);
    for document in stored.values() {
        assert_eq!(document.mime_type, "text/markdown");
        assert!(document.content.starts_with("# "), "{}", document.content);
        assert!(
            document.web_url.starts_with(&format!("{}/wiki/spaces/", site.base_url())),
            "{}",
            document.web_url
        );
        assert!(document.created_at.is_some());
    }
    assert_eq!(outcome.summary.delta_tokens.keys().collect::<Vec<_>>(), ["ENG", "OPS", "~712020ada"]);
}

#[tokio::test]
async fn the_site_sees_only_three_endpoints_the_right_credential_and_eight_in_flight() {
    let site =
        Site::builder().spaces(12).pages(600).latency(Duration::from_millis(30)).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    assert_complete(&tenant.sync_full().await);
    tenant.assert_equals(&site);
    let seen = site.statistics();
    assert_eq!((seen.unknown_paths, seen.rejected_credentials), (0, 0));
    assert_eq!(seen.max_in_flight, 8);
    // base64 of "ada@acme.example:site-token-4f1c"
    let expected = "Basic YWRhQGFjbWUuZXhhbXBsZTpzaXRlLXRva2VuLTRmMWM=";
    for request in site.log() {
        assert_eq!(request.method, "GET");
        assert_eq!(request.authorization.as_deref(), Some(expected));
        let path = request.path_and_query.split('?').next().unwrap().to_owned();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let known = matches!(
            parts.as_slice(),
            ["wiki", "api", "v2", "spaces"]
                | ["wiki", "api", "v2", "spaces", _, "pages"]
                | ["wiki", "api", "v2", "pages", _]
        );
        assert!(known, "{path}");
    }
}

#[tokio::test]
async fn a_first_sync_takes_a_request_a_hundred_pages_and_an_idle_space_takes_one() {
    let site = Site::builder().spaces(2).pages(1000).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    let first = tenant.sync().await;
    assert_complete(&first);
    assert!(first.summary.http.requests <= 1000 / 100 + 2 + 5, "{:?}", first.summary.http);
    site.forget();
    let second = tenant.sync().await;
    assert_complete(&second);
    assert_eq!(second.summary.documents.upserted, 0);
    assert_eq!(site.statistics().by_endpoint["space-pages"], 2);
    assert_eq!(site.statistics().requests, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_can_be_a_task_of_its_own() {
    let site = Site::builder().start().await.unwrap();
    let tenant = std::sync::Arc::new(Tenant::new(&site).await);
    let running = std::sync::Arc::clone(&tenant);
    assert_complete(&tokio::spawn(async move { running.sync().await }).await.unwrap());
    tenant.assert_equals(&site);
}

#[tokio::test]
async fn ten_thousand_pages_take_as_few_requests_as_promised() {
    const PAGES: u64 = 10_000;
    const CHANGES: u64 = 120;
    let site = Site::builder().spaces(1).pages(PAGES as usize).page_bytes(300).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    // Of which one lists the spaces.
    let listings = || site.statistics().requests - 1;

    assert_complete(&tenant.sync().await);
    assert!(listings() <= PAGES / 100 + 1 + 5, "first: {}", listings());

    site.forget();
    assert_complete(&tenant.sync().await);
    assert_eq!(listings(), 1, "idle");

    site.with_state(|state| {
        let pages = state.visible_pages();
        for page in pages.iter().step_by((PAGES / CHANGES) as usize).take(CHANGES as usize) {
            state.edit(&page.id, None);
        }
    });
    site.forget();
    let delta = tenant.sync().await;
    assert_complete(&delta);
    assert_eq!(delta.summary.documents.upserted, CHANGES);
    assert!(listings() <= CHANGES / 50 + 3, "delta: {}", listings());

    site.forget();
    assert_complete(&tenant.sync_full().await);
    assert!(listings() <= PAGES / 250 + 2, "full again: {}", listings());
    tenant.assert_equals(&site);
}

#[tokio::test]
async fn a_delta_run_fetches_what_changed_and_only_that() {
    let site = Site::builder().spaces(3).pages(400).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    let changed: BTreeSet<String> = site.with_state(|state| {
        let pages = state.visible_pages();
        let mut changed = BTreeSet::new();
        for page in pages.iter().step_by(80) {
            state.edit(&page.id, None);
            changed.insert(page.id.clone());
        }
        state.rename(&pages[1].id, "A new *name*");
        changed.insert(pages[1].id.clone());
        changed.insert(state.create_page("OPS", "New", Some("<p>Hello</p>")).unwrap());
        changed
    });
    site.forget();
    let outcome = tenant.sync().await;
    assert_complete(&outcome);
    assert_eq!(outcome.summary.mode, kai::summary::Mode::Delta);
    assert_eq!(outcome.summary.documents.upserted, changed.len() as u64);
    tenant.assert_equals(&site);
    // One request that lists the spaces; a probe and at most one read a space.
    assert!(site.statistics().requests <= 1 + 2 * 3, "{:?}", site.statistics());
}

#[tokio::test]
async fn nothing_is_sent_while_a_retry_after_runs() {
    for retry_after in
        [RetryAfter::Seconds(1.0), RetryAfter::Seconds(0.7), RetryAfter::Date(Duration::from_secs(2))]
    {
        let site = Site::builder().spaces(1).pages(450).start().await.unwrap();
        site.inject(Fault::RateLimited(retry_after.clone()), 1, Condition::Nth(2));
        site.inject(Fault::Unavailable(RetryAfter::Seconds(0.5)), 1, Condition::Nth(4));
        let tenant = Tenant::new(&site).await;
        let outcome = tenant.sync().await;
        assert_complete(&outcome);
        tenant.assert_equals(&site);
        assert_eq!(site.statistics().during_retry_after, 0, "{retry_after:?}");
        assert_eq!(outcome.summary.http.throttled, 2);
        assert!(outcome.summary.http.throttled_seconds >= 1.0);
    }
}

#[tokio::test]
async fn a_throttled_site_is_left_alone_by_every_space_and_every_tenant() {
    let site =
        Site::builder().spaces(8).pages(1600).latency(Duration::from_millis(10)).start().await.unwrap();
    site.with_state(|state| state.quirks.page_cap = 25);
    site.inject(Fault::RateLimited(RetryAfter::Seconds(1.0)), 1, Condition::Nth(30));
    let connector = connector().await;
    let one = Tenant::on(connector.clone(), registration_with(&site, serde_json::json!({})));
    let other = Tenant::on(connector, registration_with(&site, serde_json::json!({"space_key": "OPS"})));
    let (first, second) = tokio::join!(one.sync(), other.sync());
    assert_complete(&first);
    assert_complete(&second);
    one.assert_equals(&site);
    let throttled = site.log().into_iter().find(|request| request.status == 429).unwrap().at;
    // What was under way already when the answer arrived is no new request.
    let (grace, asked) = (Duration::from_millis(200), Duration::from_secs(1));
    let late = site
        .log()
        .into_iter()
        .filter(|request| request.at > throttled + grace && request.at < throttled + asked);
    assert_eq!(late.count(), 0);
    assert!(site.statistics().max_in_flight <= 8);
}

#[tokio::test]
async fn a_retry_after_beyond_the_budget_ends_the_run_and_the_next_goes_on() {
    let site = Site::builder().spaces(1).pages(450).start().await.unwrap();
    site.inject(Fault::RateLimited(RetryAfter::Seconds(86_400.0)), 1, Condition::Nth(4));
    let tenant = Tenant::new(&site).await;
    let outcome = tenant.sync().await;
    assert_eq!(exit_code(&outcome), exit::RATE_LIMITED);
    assert!(!outcome.summary.complete);
    assert!(outcome.error.unwrap().to_string().contains("86"), "the wait is named");
    let kept = tenant.documents().len();
    assert!(kept >= 100, "{kept}");
    // A new process, the day after.
    let next = Tenant { connector: connector().await, ..tenant };
    site.forget();
    let outcome = next.sync().await;
    assert_complete(&outcome);
    next.assert_equals(&site);
    assert_eq!(outcome.summary.documents.upserted as usize, 450 - kept);
}

#[tokio::test]
async fn transient_faults_of_every_kind_are_survived() {
    let site = Site::builder().spaces(3).pages(300).start().await.unwrap();
    site.with_state(|state| state.quirks.page_cap = 20);
    let faults = [
        Fault::Status(500),
        Fault::Status(502),
        Fault::Unavailable(RetryAfter::Absent),
        Fault::Reset,
        Fault::Truncate,
        Fault::RateLimited(RetryAfter::Absent),
        Fault::RateLimited(RetryAfter::Raw("0".into())),
        Fault::RateLimited(RetryAfter::Raw("nonsense".into())),
        Fault::Stall(Duration::from_millis(50)),
        Fault::SlowBody(Duration::from_millis(50)),
        Fault::NearLimit,
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        site.inject(fault, 1, Condition::Nth(1 + 2 * number as u64));
    }
    let tenant = Tenant::new(&site).await;
    let outcome = tenant.sync().await;
    assert_complete(&outcome);
    assert!(outcome.summary.http.retries >= 8, "{:?}", outcome.summary.http);
    tenant.assert_equals(&site);
}

#[tokio::test]
async fn a_site_that_goes_down_keeps_what_was_written_and_the_next_run_goes_on() {
    let site = Site::builder().spaces(1).pages(500).start().await.unwrap();
    site.with_state(|state| state.quirks.page_cap = 50);
    for number in 5..200 {
        site.inject(Fault::Reset, 1, Condition::Nth(number));
    }
    let tenant = Tenant::new(&site).await;
    let outcome = tenant.sync().await;
    assert_eq!(exit_code(&outcome), exit::UNAVAILABLE, "{outcome:?}");
    let kept = tenant.documents().len();
    assert!((100..500).contains(&kept), "{kept}");
    site.heal();
    let outcome = tenant.sync().await;
    assert_complete(&outcome);
    tenant.assert_equals(&site);
    assert_eq!(outcome.summary.documents.upserted as usize, 500 - kept);
}

#[tokio::test]
async fn one_page_that_no_request_can_bring_is_one_failure_and_is_tried_again() {
    let site = Site::builder().spaces(2).pages(60).start().await.unwrap();
    let broken = site.with_state(|state| {
        let id = state.visible_pages().swap_remove(20).id;
        state.set_broken(&id, true);
        id
    });
    let tenant = Tenant::new(&site).await;
    let outcome = tenant.sync().await;
    assert_complete(&outcome);
    assert_eq!(outcome.summary.documents.failed, 1, "{:?}", outcome.summary);
    assert_eq!(tenant.documents().len(), 59);
    site.with_state(|state| state.set_broken(&broken, false));
    let outcome = tenant.sync().await;
    assert_complete(&outcome);
    assert_eq!((outcome.summary.documents.upserted, outcome.summary.documents.failed), (1, 0));
    tenant.assert_equals(&site);
}

#[tokio::test]
async fn a_full_run_removes_what_is_gone_and_finds_what_moved() {
    let site = Site::builder().spaces(3).pages(90).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    site.with_state(|state| {
        let ids: Vec<String> = state.visible_pages().into_iter().map(|page| page.id).collect();
        state.purge(&ids[3]);
        state.set_status(&ids[14], PageStatus::Trashed);
        state.set_status(&ids[25], PageStatus::Archived);
        state.set_restricted(&ids[36], true);
        let target = if state.page(&ids[47]).unwrap().space_key == "OPS" { "ENG" } else { "OPS" };
        state.move_page(&ids[47], target);
    });
    // What timestamps do not show, a delta run does not see; it removes nothing.
    let delta = tenant.sync().await;
    assert_complete(&delta);
    assert_eq!((delta.summary.documents.removed, tenant.documents().len()), (0, 90));
    site.forget();
    let full = tenant.sync_full().await;
    assert_complete(&full);
    tenant.assert_equals(&site);
    assert_eq!(full.summary.documents.removed, 4);
    // Compared without bodies: three listings, and one look at each of the four.
    assert_eq!(site.statistics().by_endpoint["page"], 4);
    assert!(site.log().iter().all(|request| {
        !request.path_and_query.contains("/spaces/") || !request.path_and_query.contains("body-format")
    }));
}

#[tokio::test]
async fn many_pages_gone_at_once_stay_until_a_person_confirms() {
    let site = Site::builder().spaces(2).pages(100).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    site.with_state(|state| {
        for page in state.visible_pages().into_iter().take(30) {
            state.purge(&page.id);
        }
    });
    let refused = tenant.sync_full().await;
    assert_eq!(exit_code(&refused), exit::REMOVALS_REFUSED);
    assert!(refused.error.unwrap().to_string().contains("30 of 100"));
    assert_eq!(tenant.documents().len(), 100);
    let confirmed = tenant.sync_with(SyncOptions { full: true, confirm_removals: true }).await;
    assert_complete(&confirmed);
    assert_eq!(confirmed.summary.documents.removed, 30);
    tenant.assert_equals(&site);
}

#[tokio::test]
async fn a_credential_lost_at_any_request_removes_nothing() {
    for lost in [Fault::GenericNotFound, Fault::Unauthorized, Fault::Status(403)] {
        let site = Site::builder().spaces(2).pages(60).start().await.unwrap();
        let tenant = Tenant::new(&site).await;
        assert_complete(&tenant.sync().await);
        site.with_state(|state| {
            let id = state.visible_pages().swap_remove(7).id;
            state.purge(&id);
        });
        for number in 1..=5 {
            site.forget();
            for after in number..60 {
                site.inject(lost.clone(), 1, Condition::Nth(after));
            }
            let outcome = tenant.sync_full().await;
            site.heal();
            if site.statistics().requests < number {
                break;
            }
            // A 403 to the look at a single page may be about that page: it is kept as a failure.
            let of_one_page = matches!(lost, Fault::Status(403)) && outcome.summary.documents.failed == 1;
            assert!(
                exit_code(&outcome) == exit::AUTHENTICATION || (of_one_page && outcome.error.is_none()),
                "{lost:?} at {number}: {:?}",
                outcome.error
            );
            assert_eq!(tenant.documents().len(), 60, "{lost:?} at {number}");
        }
        assert_complete(&tenant.sync_full().await);
        tenant.assert_equals(&site);
    }
}

#[tokio::test]
async fn spaces_that_vanish_are_not_taken_for_deleted() {
    let site = Site::builder().spaces(2).pages(60).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    site.with_state(|state| {
        state.change_space("ENG", SpaceStatus::Current, false);
        state.change_space("OPS", SpaceStatus::Current, false);
    });
    let outcome = tenant.sync_full().await;
    assert_eq!(exit_code(&outcome), exit::UNAVAILABLE);
    assert!(outcome.error.unwrap().to_string().contains("60 documents"));
    assert_eq!(tenant.documents().len(), 60);
}

#[tokio::test]
async fn one_space_only_where_one_is_pinned() {
    let site = Site::builder().spaces(3).pages(60).start().await.unwrap();
    let connector = connector().await;
    let pinned =
        Tenant::on(connector.clone(), registration_with(&site, serde_json::json!({"space_key": "ops"})));
    assert_complete(&pinned.sync().await);
    assert!(pinned.documents().values().all(|document| document.space_key == "OPS"));
    assert_eq!(pinned.documents().len(), 20);
    let unknown = Tenant::on(connector, registration_with(&site, serde_json::json!({"space_key": "NOPE"})));
    let outcome = unknown.sync().await;
    assert_eq!(exit_code(&outcome), exit::NOT_FOUND);
    assert!(outcome.error.unwrap().to_string().contains("NOPE"));
}

#[tokio::test]
async fn edits_between_any_two_requests_lose_nothing() {
    let site = Site::builder().spaces(2).pages(300).start().await.unwrap();
    site.with_state(|state| state.quirks.page_cap = 20);
    site.before_each_request(|state, number| {
        let ids = state.page_ids();
        let pick = |step: u64| &ids[(number * step) as usize % ids.len()];
        state.edit(pick(37), None);
        if number % 3 == 0 {
            state.create_page("ENG", &format!("Written at {number}"), None);
        }
    });
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    assert_complete(&tenant.sync().await);
    site.before_each_request(|_, _| {});
    assert_complete(&tenant.sync().await);
    tenant.assert_equals(&site);
}

#[tokio::test]
async fn the_real_token_is_in_no_file_and_the_site_gets_no_stand_in() {
    let site = Site::builder().pages(30).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    assert_eq!(site.statistics().rejected_credentials, 0);
    let encoded = "c2l0ZS10b2tlbi00ZjFj";
    for entry in std::fs::read_dir(tenant.data.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in [Site::TOKEN, encoded] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret}");
        }
    }
}

#[tokio::test]
async fn a_page_that_failed_is_tried_again_by_the_process_that_takes_up_the_run() {
    let site = Site::builder().spaces(2).pages(40).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    let edit = |key: &str| {
        site.with_state(|state| {
            let page = state.visible_pages().into_iter().find(|page| page.space_key == key).unwrap().id;
            state.edit(&page, None);
            page
        })
    };
    let (page, refused) = (edit("ENG"), edit("OPS"));
    let late = site.with_state(|state| {
        state.set_broken(&page, true);
        format!("/spaces/{}/pages", state.spaces()[1].id)
    });
    // Late, so that the other space is through by then.
    site.inject(Fault::Stall(Duration::from_secs(1)), 1, Condition::Path(late));
    site.inject(Fault::Unauthorized, usize::MAX, Condition::Path(format!("/pages/{refused}")));
    let outcome = tenant.sync_full().await;
    assert_eq!(exit_code(&outcome), exit::AUTHENTICATION);
    assert_eq!(outcome.summary.documents.failed, 1);
    site.heal();
    site.with_state(|state| state.set_broken(&page, false));
    let outcome = tenant.sync_full().await;
    assert_complete(&outcome);
    assert_eq!(outcome.summary.documents.failed, 0);
    tenant.assert_equals(&site);
}

/// Also where its pages were removed meanwhile, and none of them is edited since.
#[tokio::test]
async fn a_space_that_was_out_of_sight_comes_back_with_all_its_pages() {
    let site = Site::builder().spaces(5).pages(100).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    site.with_state(|state| state.change_space("OPS", SpaceStatus::Current, false));
    let full = tenant.sync_full().await;
    assert_eq!(full.summary.documents.removed, 20);
    tenant.assert_equals(&site);
    site.with_state(|state| state.change_space("OPS", SpaceStatus::Current, true));
    let delta = tenant.sync().await;
    assert_complete(&delta);
    assert_eq!(delta.summary.mode, Mode::Delta);
    tenant.assert_equals(&site);
}

/// A listing of spaces that leaves one out looks like any other; its pages are there, and so is the space when it is
/// asked for.
#[tokio::test]
async fn a_space_that_its_listing_leaves_out_loses_no_page() {
    let site = Site::builder().spaces(10).pages(100).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    let spaces = site.with_state(|state| state.spaces());
    let nine: Vec<_> = spaces[1..]
        .iter()
        .map(|space| serde_json::json!({"id": space.id, "key": space.key, "name": space.name}))
        .collect();
    let listing = serde_json::json!({"results": nine, "_links": {}}).to_string();
    site.inject(Fault::Json(200, listing), 1, Condition::Nth(site.statistics().requests + 1));
    let full = tenant.sync_full().await;
    assert_complete(&full);
    assert_eq!((full.summary.partitions, full.summary.documents.removed), (9, 0));
    tenant.assert_equals(&site);
    assert_complete(&tenant.sync().await);
    tenant.assert_equals(&site);
}

#[tokio::test]
async fn a_crawl_of_much_that_changed_reads_stretches_and_not_pages() {
    let site = Site::builder().spaces(1).pages(1_000).page_bytes(500).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    site.with_state(|state| {
        for page in state.visible_pages().iter().step_by(5) {
            state.edit(&page.id, None);
        }
    });
    site.forget();
    let full = tenant.sync_full().await;
    assert_complete(&full);
    assert_eq!(full.summary.documents.upserted, 200);
    tenant.assert_equals(&site);
    let seen = site.statistics();
    assert!(!seen.by_endpoint.contains_key("page"), "{seen:?}");
    // Four stretches, one of them in two answers with bodies; and the listing of spaces.
    assert!(seen.requests <= 10, "{seen:?}");
}

/// Runs, among them full ones, that cannot come to their end because of one space keep the others up to date.
#[tokio::test]
async fn a_space_that_fails_for_long_holds_up_no_other() {
    let site = Site::builder().spaces(3).pages(60).start().await.unwrap();
    let tenant = Tenant::new(&site).await;
    assert_complete(&tenant.sync().await);
    let (failing, page) = site.with_state(|state| {
        let page = state.visible_pages().into_iter().find(|page| page.space_key == "ENG").unwrap().id;
        state.set_broken(&page, true);
        state.edit(&page, None);
        (state.spaces()[1].id.clone(), page)
    });
    site.inject(Fault::Status(500), usize::MAX, Condition::Path(format!("/spaces/{failing}/pages")));
    let version = |tenant: &Tenant| tenant.documents()[&page].version_number;
    let before = version(&tenant);
    for (round, full) in [true, false, true, false].into_iter().enumerate() {
        let outcome = if full { tenant.sync_full().await } else { tenant.sync().await };
        assert_eq!(exit_code(&outcome), exit::UNAVAILABLE, "round {round}");
        match round {
            // A failure of the first round is mended ...
            0 => site.with_state(|state| state.set_broken(&page, false)),
            // ... and had, and then an edit is.
            1 => {
                assert_eq!(version(&tenant), before + 1);
                site.with_state(|state| state.edit(&page, None))
            }
            _ => {
                assert_eq!(version(&tenant), before + 2);
                true
            }
        };
    }
    site.heal();
    assert_complete(&tenant.sync_full().await);
    tenant.assert_equals(&site);
}

#[tokio::test]
async fn a_site_that_refuses_every_cursor_is_an_error_and_no_endless_crawl() {
    let site = Site::builder().spaces(1).pages(60).start().await.unwrap();
    site.with_state(|state| state.quirks.page_cap = 10);
    let refusal =
        r#"{"errors":[{"status":400,"title":"Provided value for 'cursor' is not the correct type"}]}"#;
    site.inject(Fault::Json(400, refusal.into()), usize::MAX, Condition::Path("cursor=".into()));
    let tenant = Tenant::new(&site).await;
    let outcome = tenant.sync().await;
    assert_eq!(exit_code(&outcome), exit::UNAVAILABLE);
    assert!(site.statistics().requests < 10, "{:?}", site.statistics());
    assert_eq!(tenant.documents().len(), 10);
}

/// A listing that turned empty, in a space whose pages name it by an alias that no filter by key finds.
#[tokio::test]
async fn pages_that_name_their_space_by_an_alias_are_not_taken_for_those_of_another() {
    let site = Site::builder().spaces(3).pages(60).start().await.unwrap();
    let space = site.with_state(|state| {
        state.set_alias("OPS", Some("operations"));
        state.spaces()[1].id.clone()
    });
    for fields in [serde_json::json!({}), serde_json::json!({"space_key": "OPS"})] {
        let tenant = Tenant::on(connector().await, registration_with(&site, fields));
        assert_complete(&tenant.sync().await);
        let before = tenant.documents();
        let nothing = Fault::Json(200, r#"{"results":[],"_links":{}}"#.into());
        site.inject(nothing, 1, Condition::Path(format!("/spaces/{space}/pages")));
        let full = tenant.sync_full().await;
        assert_complete(&full);
        assert_eq!(full.summary.documents.removed, 0);
        // Neither removed nor stored under another name.
        assert_eq!(tenant.documents(), before);
    }
}

#[tokio::test]
async fn a_failed_page_that_moves_out_of_the_source_is_not_stored() {
    let site = Site::builder().spaces(2).pages(40).start().await.unwrap();
    let fields = serde_json::json!({"space_key": "ENG"});
    let tenant = Tenant::on(connector().await, registration_with(&site, fields));
    let page = site.with_state(|state| {
        let page = state.visible_pages().into_iter().find(|page| page.space_key == "ENG").unwrap().id;
        state.set_broken(&page, true);
        page
    });
    assert_eq!(tenant.sync().await.summary.documents.failed, 1);
    site.with_state(|state| {
        state.set_broken(&page, false);
        state.move_page(&page, "OPS");
    });
    let outcome = tenant.sync().await;
    assert_complete(&outcome);
    assert_eq!(outcome.summary.documents.failed, 0);
    assert!(!tenant.documents().contains_key(&page));
    assert_eq!(tenant.documents().len(), 19);
}
