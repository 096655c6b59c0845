//! The ways of Confluence that a reader must know.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are test code too, which clippy does not see"
)]

mod common;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use common::{authorization, client, get, ids, send, space_id, walk};
use confluence_site::{PageStatus, Site, SpaceStatus};
use serde_json::{Value, json};

async fn site() -> Site {
    Site::builder().pages(90).start().await.unwrap()
}

fn pages_of(site: &Site, key: &str, query: &str) -> String {
    format!("/wiki/api/v2/spaces/{}/pages?{query}", space_id(site, key))
}

#[tokio::test]
async fn default_listings_hold_archived_pages() {
    let site = site().await;
    let rows = walk(&site, &pages_of(&site, "ENG", "")).await;
    let statuses: BTreeSet<&str> = rows.iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, BTreeSet::from(["archived", "current"]));
    assert_eq!(walk(&site, &pages_of(&site, "ENG", "status=current")).await.len(), 30);
    let both = walk(&site, &pages_of(&site, "ENG", "status=current&status=archived")).await;
    assert_eq!(ids(&both), ids(&rows));
    assert_eq!(ids(&walk(&site, &pages_of(&site, "ENG", "status=current,archived")).await), ids(&rows));
    let mut trashed = 0;
    for key in ["ENG", "OPS", "~712020ada"] {
        trashed += walk(&site, &pages_of(&site, key, "status=trashed")).await.len();
    }
    assert_eq!(trashed, 4);
    assert_eq!(get(&site, &pages_of(&site, "ENG", "status=draft")).await.0, 400);
}

#[tokio::test]
async fn a_rejected_credential_is_a_404_that_names_nothing() {
    let site = site().await;
    let url = format!("{}/wiki/api/v2/spaces?limit=1", site.base_url());
    let generic =
        json!({ "errors": [{ "status": 404, "code": "NOT_FOUND", "title": "Not Found", "detail": null }] });
    for header in [None, Some(authorization(Site::EMAIL, "wrong")), Some("Bearer x".to_owned())] {
        let mut request = client().get(&url);
        if let Some(header) = &header {
            request = request.header("authorization", header);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 404);
        let body: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(body, generic);
    }
    assert_eq!(site.statistics().rejected_credentials, 3);
    site.with_state(|state| state.set_account("b\u{fc}@x", "t:\u{f6}"));
    assert_eq!(send(&site, "/wiki/api/v2/spaces").await.unwrap().status(), 404);
    let header = authorization("b\u{fc}@x", "t:\u{f6}");
    assert_eq!(client().get(&url).header("authorization", &header).send().await.unwrap().status(), 200);
    let seen = site.log();
    assert!(seen.last().unwrap().authorized);
    assert_eq!(seen.last().unwrap().authorization, Some(header));
    assert!(!seen.first().unwrap().authorized);
    site.with_state(|state| state.add_account(Site::EMAIL, Site::TOKEN));
    for (email, token) in [("b\u{fc}@x", "t:\u{f6}"), (Site::EMAIL, Site::TOKEN)] {
        let header = authorization(email, token);
        assert_eq!(client().get(&url).header("authorization", &header).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn missing_pages_are_named() {
    let site = site().await;
    let title = |answer: serde_json::Value| answer["errors"][0]["title"].as_str().unwrap().to_owned();
    let (status, answer) = get(&site, "/wiki/api/v2/pages/7").await;
    assert_eq!((status, title(answer).as_str()), (404, "Cannot find a page with id [7]"));
    let (status, answer) = get(&site, "/wiki/api/v2/pages/Docs").await;
    let wrong = "Provided value {Docs} for 'id' is not the correct type. Expected type is long.";
    assert_eq!((status, title(answer).as_str()), (400, wrong));
    assert_eq!(get(&site, "/wiki/api/v2/spaces/ENG/pages").await.0, 400);
    assert_eq!(get(&site, "/wiki/api/v2/spaces/5/pages").await.0, 404);

    let id = site.with_state(|state| state.create_page("ENG", "x", Some("<p />"))).unwrap();
    let path = format!("/wiki/api/v2/pages/{id}");
    assert!(site.with_state(|state| state.set_status(&id, PageStatus::Trashed)));
    let (status, answer) = get(&site, &path).await;
    assert_eq!((status, &answer["status"], &answer["parentId"]), (200, &json!("trashed"), &json!(null)));
    site.with_state(|state| state.set_restricted(&id, true));
    assert_eq!(get(&site, &path).await.0, 404);
    site.with_state(|state| {
        state.set_restricted(&id, false);
        state.set_status(&id, PageStatus::Current);
        state.change_space("eng", SpaceStatus::Current, false)
    });
    assert_eq!(get(&site, &path).await.0, 404);
    assert_eq!(get(&site, &pages_of(&site, "ENG", "")).await.0, 404);
    assert!(get(&site, "/wiki/api/v2/spaces?keys=ENG").await.1["results"].as_array().unwrap().is_empty());
    site.with_state(|state| {
        state.change_space("ENG", SpaceStatus::Archived, true);
        state.purge(&id)
    });
    assert_eq!(get(&site, &path).await.0, 404);
    assert_eq!(get(&site, &pages_of(&site, "ENG", "")).await.0, 200);
    assert!(site.with_state(|state| state.visible_pages()).iter().all(|page| page.space_key != "ENG"));
    assert!(!site.with_state(|state| state.edit(&id, None)));
}

#[tokio::test]
async fn spaces_are_found_by_key_id_status_and_type() {
    let site = site().await;
    let keys = async |query: &str| {
        let (status, answer) = get(&site, &format!("/wiki/api/v2/spaces?{query}")).await;
        assert_eq!(status, 200, "{query}");
        let rows = answer["results"].as_array().unwrap().clone();
        rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys("").await, ["ENG", "OPS", "~712020ada"]);
    assert_eq!(keys("keys=eng").await, ["ENG"]);
    assert_eq!(keys("keys=~712020ADA,ops&sort=-key").await, ["~712020ada", "OPS"]);
    assert_eq!(keys("keys=OPS&keys=ENG").await, ["ENG", "OPS"]);
    assert_eq!(keys(&format!("ids={}", space_id(&site, "OPS"))).await, ["OPS"]);
    assert_eq!(keys("type=personal").await, ["~712020ada"]);
    assert_eq!(keys("sort=name").await, ["~712020ada", "ENG", "OPS"]);
    site.with_state(|state| state.change_space("OPS", SpaceStatus::Archived, true));
    assert_eq!(keys("status=current").await, ["ENG", "~712020ada"]);
    assert_eq!(keys("").await.len(), 3);
    for query in ["status=any", "type=x", "sort=created", "ids=ENG", "cursor=abc", "limit=0", "limit=x"] {
        assert_eq!(get(&site, &format!("/wiki/api/v2/spaces?{query}")).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn every_sort_visits_each_page_once() {
    let site = site().await;
    site.with_state(|state| {
        for n in 0..5 {
            // Equal titles: the id decides.
            state.create_page("ENG", "Same", Some(&n.to_string()));
        }
    });
    let all: HashSet<String> =
        ids(&walk(&site, &pages_of(&site, "ENG", "limit=250")).await).into_iter().collect();
    for (field, pointer) in [
        ("id", "/id"),
        ("created-date", "/createdAt"),
        ("modified-date", "/version/createdAt"),
        ("title", "/title"),
    ] {
        let up = walk(&site, &pages_of(&site, "ENG", &format!("sort={field}&limit=7"))).await;
        let down = walk(&site, &pages_of(&site, "ENG", &format!("sort=-{field}&limit=7"))).await;
        assert_eq!(up.len(), all.len(), "{field}");
        assert_eq!(ids(&up).into_iter().collect::<HashSet<_>>(), all, "{field}");
        assert_eq!(ids(&up), ids(&down).into_iter().rev().collect::<Vec<_>>(), "{field}");
        let values: Vec<String> = up
            .iter()
            .map(|row| row.pointer(pointer).unwrap().as_str().unwrap().to_lowercase())
            .map(|value| if field == "id" { format!("{value:0>20}") } else { value })
            .collect();
        assert!(values.is_sorted(), "{field}: {values:?}");
    }
    site.with_state(|state| state.quirks.broken_sort = true);
    let broken = walk(&site, &pages_of(&site, "ENG", "sort=-modified-date&limit=7")).await;
    assert_eq!(ids(&broken).into_iter().collect::<HashSet<_>>(), all);
    assert_eq!(broken.len(), all.len());
    assert!(!broken.iter().rev().map(|row| row["version"]["createdAt"].as_str().unwrap()).is_sorted());
}

#[tokio::test]
async fn next_holds_wiki_and_a_padded_cursor() {
    let site = site().await;
    let eng = space_id(&site, "ENG");
    let next = async |path: String| {
        get(&site, &path).await.1["_links"]["next"].as_str().unwrap_or_default().to_owned()
    };
    let first = format!("/wiki/api/v2/spaces/{eng}/pages?limit=5&sort=title&status=current");
    let raw = next(first.clone()).await;
    assert!(
        raw.starts_with(&format!(
            "/wiki/api/v2/spaces/{eng}/pages?limit=5&sort=title&status=current&cursor="
        ))
    );
    assert!(raw.ends_with('='), "{raw}");
    let cursor = raw.split_once("cursor=").unwrap().1.to_owned();
    assert!(!cursor.contains(['+', '/', '%']));

    // The gateway's `next` does not name the gateway.
    let through = next(format!("/ex/confluence/0a1b/{}", first.trim_start_matches('/'))).await;
    assert_eq!(through, raw);

    site.with_state(|state| state.quirks.cursor_in_next_encoded = true);
    let encoded = next(first.clone()).await;
    assert!(encoded.ends_with("%3D"), "{encoded}");
    assert_eq!(get(&site, &encoded).await.1["results"], get(&site, &raw).await.1["results"]);
    site.with_state(|state| state.quirks.absolute_next = true);
    assert!(next(first.clone()).await.starts_with(&site.base_url()));
    site.with_state(|state| state.quirks.foreign_next = true);
    assert!(next(first.clone()).await.starts_with("http://127.0.0.1:9/wiki/"));

    site.with_state(|state| {
        state.quirks = Default::default();
        state.quirks.loop_cursor = true;
    });
    let once = next(first.clone()).await;
    assert_eq!(next(once.clone()).await, once);
    site.with_state(|state| state.quirks.loop_cursor = false);

    // A cursor is a position in one order.
    let other = pages_of(&site, "ENG", &format!("sort=-title&cursor={cursor}"));
    let (status, answer) = get(&site, &other).await;
    assert_eq!(status, 400);
    assert_eq!(
        answer["errors"][0]["title"],
        "Provided value for 'cursor' is not the correct type. Expected type is Cursor."
    );
    let whole: String = pages_of(&site, "ENG", "cursor=/wiki/api/v2/spaces");
    assert_eq!(get(&site, &whole).await.0, 400);
    let (_, last) = get(&site, &pages_of(&site, "ENG", "limit=250")).await;
    assert!(last["_links"].get("next").is_none());
}

#[tokio::test]
async fn limits_are_capped() {
    let site = Site::builder().spaces(1).pages(300).page_bytes(50).start().await.unwrap();
    let count = async |query: &str| {
        let (status, answer) = get(&site, &pages_of(&site, "ENG", query)).await;
        (status, answer["results"].as_array().map(Vec::len))
    };
    assert_eq!(count("").await, (200, Some(25)));
    assert_eq!(count("limit=250").await, (200, Some(250)));
    assert_eq!(count("limit=251").await, (400, None));
    site.with_state(|state| state.quirks.limit_over_250_is_400 = false);
    assert_eq!(count("limit=1000").await, (200, Some(250)));
    site.with_state(|state| state.quirks.page_cap = 50);
    assert_eq!(count("limit=250&body-format=storage").await, (200, Some(50)));
    let rows = walk(&site, &pages_of(&site, "ENG", "limit=250&status=current")).await;
    assert_eq!(rows.len(), 300);
    assert_eq!(count("body-format=view").await, (400, None));
}

#[tokio::test]
async fn edits_make_versions_and_moves_do_not() {
    let site = site().await;
    let id = site.with_state(|state| state.visible_pages()[3].id.clone());
    let page = || site.with_state(|state| state.page(&id).unwrap());
    let before = page();
    site.with_state(|state| state.edit(&id, None));
    let edited = page();
    assert_eq!(edited.version, before.version + 1);
    assert!(edited.modified_at > before.modified_at && edited.storage.starts_with(&before.storage));
    assert_eq!(edited.created_at, before.created_at);
    site.with_state(|state| state.rename(&id, "Another"));
    let renamed = page();
    assert!(renamed.version == edited.version + 1 && renamed.modified_at >= edited.modified_at);
    let target = if renamed.space_key == "OPS" { "ENG" } else { "OPS" };
    assert!(site.with_state(|state| state.move_page(&id, target)));
    let moved = page();
    assert_eq!((moved.version, &moved.modified_at), (renamed.version, &renamed.modified_at));
    assert_eq!(moved.space_key, target);
    assert!(ids(&walk(&site, &pages_of(&site, target, "")).await).contains(&id));
    assert!(!ids(&walk(&site, &pages_of(&site, &before.space_key, "")).await).contains(&id));
    // A clock that is far behind must not take a page back in time.
    site.with_state(|state| state.quirks.clock_skew = chrono::Duration::days(-2000));
    site.with_state(|state| state.edit(&id, Some("<p>late</p>")));
    assert_eq!(page().modified_at, moved.modified_at);
    // Two edits in one millisecond are two versions.
    assert_eq!(page().version, moved.version + 1);
}

#[tokio::test]
async fn a_stopped_clock_dates_edits_and_answers_and_answers_need_no_network() {
    let mut state = Site::builder().content();
    state.set_time(1_800_000_000_000);
    state.quirks.replication_lag = Duration::from_secs(30);
    let id = state.visible_pages()[0].id.clone();
    let space = state.spaces().into_iter().next().unwrap();
    let authorization = authorization(Site::EMAIL, Site::TOKEN);
    let listed = |state: &confluence_site::State| {
        let path = format!("/wiki/api/v2/spaces/{}/pages?status=current&limit=250", space.id);
        let answer = state.get(&path, Some(&authorization));
        assert_eq!(answer.status, 200);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let row = body["results"].as_array().unwrap().iter().find(|row| row["id"] == *id).unwrap().clone();
        (row["version"]["number"].clone(), answer.date.unwrap())
    };
    let (before, date) = listed(&state);
    assert_eq!(date, "Fri, 15 Jan 2027 08:00:00 GMT");
    assert!(state.edit(&id, None));
    assert_eq!(state.page(&id).unwrap().modified_at, "2027-01-15T08:00:00.000Z");
    assert_eq!(listed(&state).0, before);
    state.set_time(1_800_000_030_000);
    assert_ne!(listed(&state).0, before);
    assert_eq!(state.get("/wiki/api/v2/spaces", None).status, 404);
}

#[tokio::test]
async fn listings_lag_behind() {
    let site = site().await;
    let lag = Duration::from_millis(1000);
    let listed = async || ids(&walk(&site, &pages_of(&site, "ENG", "limit=250")).await);
    let old = site.with_state(|state| {
        state.quirks.replication_lag = lag;
        state.visible_pages().into_iter().find(|page| page.space_key == "ENG").unwrap().id
    });
    let new = site.with_state(|state| {
        state.move_page(&old, "OPS");
        state.create_page("ENG", "New", None).unwrap()
    });
    let ids = listed().await;
    assert!(ids.contains(&old) && !ids.contains(&new));
    assert_eq!(get(&site, &format!("/wiki/api/v2/pages/{new}")).await.0, 200);
    tokio::time::sleep(lag).await;
    let ids = listed().await;
    assert!(!ids.contains(&old) && ids.contains(&new));
}

#[tokio::test]
async fn cql_is_ignored_honoured_or_refused() {
    let site = site().await;
    let all = walk(&site, &pages_of(&site, "ENG", "limit=250")).await;
    let current = walk(&site, &pages_of(&site, "ENG", "limit=250&status=current")).await;
    let mut times: Vec<&str> =
        current.iter().map(|row| row["version"]["createdAt"].as_str().unwrap()).collect();
    times.sort_unstable();
    let minute = times[20][..16].replace('T', "%20");
    let cql =
        |minute: &str| pages_of(&site, "ENG", &format!("limit=250&cql=lastModified%20>%20%22{minute}%22"));
    assert_eq!(walk(&site, &cql(&minute)).await.len(), all.len());
    site.with_state(|state| state.quirks.honour_cql = true);
    let filtered = walk(&site, &cql(&minute)).await;
    assert!(!filtered.is_empty() && filtered.len() <= current.len() - 20);
    let last = times.last().unwrap();
    let newest = walk(&site, &cql(&last[..16].replace('T', "%20"))).await.len();
    assert_eq!(newest, 1, "cql knows no seconds: the newest page is later than its own minute");
    // Seen from UTC, a literal that a site two hours east reads is two hours earlier.
    site.with_state(|state| state.quirks.cql_zone_minutes = 120);
    assert!(walk(&site, &cql(&minute)).await.len() >= filtered.len());
    site.with_state(|state| state.quirks.reject_cql = true);
    assert_eq!(get(&site, &cql(&minute)).await.0, 400);
}

#[tokio::test]
async fn a_seed_is_a_site() {
    let pages = async |seed| {
        let site = Site::builder().seed(seed).pages(60).start().await.unwrap();
        site.with_state(|state| {
            let ids = state.page_ids();
            ids.iter().map(|id| state.page(id).unwrap()).collect::<Vec<_>>()
        })
    };
    let (one, same, other) = (pages(4).await, pages(4).await, pages(5).await);
    assert_eq!(one, same);
    assert_ne!(one, other);
    let count = |status| one.iter().filter(|page| page.status == status).count();
    assert_eq!(count(PageStatus::Current), 60);
    assert_eq!(
        (count(PageStatus::Archived), count(PageStatus::Trashed), count(PageStatus::Draft)),
        (4, 3, 2)
    );
    let numbers: Vec<u64> = one.iter().map(|page| page.id.parse().unwrap()).collect();
    assert!(numbers.is_sorted());
    assert!(!one.iter().map(|page| &page.id).is_sorted(), "ids must not sort as text");
    let titles: HashSet<&String> = one.iter().map(|page| &page.title).collect();
    assert_eq!(titles.len(), one.len());
    let bytes: usize = one.iter().map(|page| page.storage.len()).sum();
    assert!((1500..3000).contains(&(bytes / one.len())), "{}", bytes / one.len());
    let text: String = one.iter().map(|page| page.storage.as_str()).collect();
    for part in [
        "<h2>",
        "<ul>",
        "<th>",
        "<![CDATA[",
        "ac:name=\"info\"",
        "ac:name=\"status\"",
        "ac:name=\"expand\"",
        "<ac:task-list>",
        "<ri:page",
        "<ri:user",
        "<ac:caption>",
        "<ac:emoticon",
        "<ac:layout>",
        "acme-approval",
        "&nbsp;",
        "<ac:adf-extension>",
    ] {
        assert!(text.contains(part), "{part}");
    }
    for (open, close) in
        [("<p>", "</p>"), ("<ac:structured-macro ", "</ac:structured-macro>"), ("<li>", "</li>")]
    {
        assert!(text.matches(open).count() <= text.matches(close).count(), "{open}");
    }
}

#[tokio::test]
async fn a_large_space_is_quick() {
    let site = Site::builder().spaces(1).pages(10_000).page_bytes(200).start().await.unwrap();
    let start = std::time::Instant::now();
    let rows = walk(&site, &pages_of(&site, "ENG", "limit=250&sort=-modified-date&status=current")).await;
    assert_eq!(ids(&rows).into_iter().collect::<HashSet<_>>().len(), 10_000);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
