//! What the walk over a space asks for and what it yields, against a site that lives in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use confluence_connector::delta::Timestamp;
use confluence_connector::discovery::{discover, fetch, list_partitions, validate};
use confluence_connector::document::{Batch, Carry, Change, Partition};
use confluence_connector::error::Error;
use confluence_connector::source::Source;
use confluence_connector::transport::{Request, Response, Transport, TransportError};
use serde_json::{Value, json};

/// 2026-06-01T12:00:00Z: the site's clock.
const NOW: i64 = 1_780_315_200_000;

fn time(milliseconds: i64) -> String {
    Timestamp::from_milliseconds(milliseconds).unwrap().to_string()
}

type Fault = Box<dyn Fn(&Query) -> Option<Result<Response, TransportError>>>;

/// A space of pages: id -> (modified, version). Fewer quirks than a real site, but the same order and paging.
struct Site {
    pages: RefCell<BTreeMap<u64, (i64, u32)>>,
    requests: RefCell<Vec<String>>,
    fault: Fault,
    honours_sort: Cell<bool>,
    largest_answer: Cell<usize>,
    /// Bytes of padding in each body.
    padding: Cell<usize>,
}

struct Query {
    path: String,
    parameters: BTreeMap<String, String>,
}

impl Query {
    fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.parameters.get(name)?.parse().ok()
    }
}

impl Site {
    /// Pages 1 to `count`, each modified one minute after the one before, the last one an hour ago.
    fn new(count: u64) -> Self {
        let pages = (1..=count).map(|id| (id, (NOW - 3_600_000 - (count - id) as i64 * 60_000, 1))).collect();
        Self {
            pages: RefCell::new(pages),
            requests: RefCell::default(),
            fault: Box::new(|_| None),
            honours_sort: Cell::new(true),
            largest_answer: Cell::new(250),
            padding: Cell::new(0),
        }
    }

    fn with_fault(
        self,
        fault: impl Fn(&Query) -> Option<Result<Response, TransportError>> + 'static,
    ) -> Self {
        Self { fault: Box::new(fault), ..self }
    }

    fn edit(&self, id: u64, at: i64) {
        let mut pages = self.pages.borrow_mut();
        let version = pages.get(&id).map_or(1, |page| page.1 + 1);
        pages.insert(id, (at, version));
    }

    fn page(&self, id: u64, (modified, version): (i64, u32), body: bool) -> Value {
        let body = if body {
            let padding = "x".repeat(self.padding.get());
            json!({"storage": {"value": format!("<p>text of {id}{padding}</p>"), "representation": "storage"}})
        } else {
            json!({})
        };
        json!({
            "id": id.to_string(), "status": "current", "title": format!("Page {id}"), "spaceId": "7",
            "createdAt": time(NOW - 86_400_000_000), "unknown": {"field": [1]},
            "version": {"createdAt": time(modified), "number": version, "minorEdit": false},
            "body": body, "_links": {"webui": format!("/spaces/ENG/pages/{id}/Page+{id}")},
        })
    }

    fn answer(&self, query: &Query) -> Response {
        let body = query.has("body-format");
        if let Some(id) = query.path.strip_prefix("/wiki/api/v2/pages/") {
            let id: u64 = id.parse().unwrap();
            return match self.pages.borrow().get(&id) {
                Some(&page) => ok(&self.page(id, page, body)),
                None => {
                    status(404, &json!({"errors": [{"title": format!("Cannot find a page with id {id}")}]}))
                }
            };
        }
        if query.path == "/wiki/api/v2/spaces" {
            let wanted = query.parameters.get("keys");
            let all = [("7", "ENG", "Engineering"), ("8", "~712020a", "")];
            let offset = query.number("cursor").unwrap_or(0);
            let found: Vec<_> = all
                .iter()
                .filter(|(_, key, _)| wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(key)))
                .skip(offset)
                .take(self.largest_answer.get())
                .map(|(id, key, name)| json!({"id": id, "key": key, "name": name}))
                .collect();
            let end = offset + found.len();
            let links = if end < 2 && wanted.is_none() {
                json!({"next": format!("/wiki/api/v2/spaces?cursor={end}")})
            } else {
                json!({})
            };
            return ok(&json!({"results": found, "_links": links}));
        }
        assert_eq!(query.path, "/wiki/api/v2/spaces/7/pages");
        assert_eq!(query.parameters["status"], "current");
        let mut pages: Vec<_> = self.pages.borrow().iter().map(|(&id, &page)| (id, page)).collect();
        if query.parameters["sort"] == "-modified-date" && self.honours_sort.get() {
            pages.sort_by_key(|&(id, (modified, _))| (std::cmp::Reverse(modified), id));
        }
        let offset = query.number("cursor").unwrap_or(0);
        let limit = query.number("limit").unwrap().min(self.largest_answer.get());
        let results: Vec<_> =
            pages.iter().skip(offset).take(limit).map(|&(id, page)| self.page(id, page, body)).collect();
        let end = offset + results.len();
        let links = if end < pages.len() {
            json!({"next": format!("/wiki{}?cursor={end}", query.path)})
        } else {
            json!({})
        };
        ok(&json!({"results": results, "_links": links}))
    }
}

impl Transport for Site {
    fn get(&self, request: Request<'_>) -> Result<Response, TransportError> {
        let path_and_query =
            request.url.strip_prefix("https://acme.atlassian.net").expect("the source's own origin");
        self.requests.borrow_mut().push(path_and_query.to_owned());
        assert_eq!(request.authorization, "Basic YWRhQGV4YW1wbGUuY29tOnRva2Vu");
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = Query {
            path: path.to_owned(),
            parameters: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        };
        (self.fault)(&query).unwrap_or_else(|| Ok(self.answer(&query)))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_milliseconds(NOW + 3_600_000).unwrap()
    }
}

fn ok(body: &Value) -> Response {
    status(200, body)
}

fn status(status: u16, body: &Value) -> Response {
    let date = Some("Mon, 01 Jun 2026 12:00:00 GMT".to_owned());
    Response { status, date, body: body.to_string().into_bytes(), ..Response::default() }
}

fn source() -> Source {
    Source {
        kind: "CONFLUENCE".to_owned(),
        base_url: "https://acme.atlassian.net/".to_owned(),
        email: "ada@example.com".to_owned(),
        api_token: "token".to_owned(),
        ..Source::default()
    }
}

fn space() -> Partition {
    Partition { id: "7".to_owned(), key: "ENG".to_owned(), name: "Engineering".to_owned() }
}

fn step(site: &Site, since: Option<&str>, carry: Carry, cursor: Option<&str>) -> Result<Batch, Error> {
    discover(&source(), &space(), since, carry, cursor, site)
}

/// Walks to the end. Each call takes a cursor that went through text, as a store would keep it.
fn walk(site: &Site, since: Option<&str>, carry: Carry) -> Result<(Vec<Change>, Option<Timestamp>), Error> {
    let mut changes = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let batch = step(site, since, carry, cursor.as_deref())?;
        changes.extend(batch.changes);
        cursor = batch.next;
        if cursor.is_none() {
            return Ok((changes, batch.delta_token));
        }
        assert_eq!(batch.delta_token, None, "a token before the end of the listing");
    }
}

fn ids(changes: &[Change]) -> Vec<u64> {
    let id = |change: &Change| match change {
        Change::Document(document) => document.reference.id.parse().unwrap(),
        Change::Reference(reference) => reference.id.parse().unwrap(),
        Change::Failure(failure) => panic!("{failure:?}"),
    };
    changes.iter().map(id).collect()
}

#[test]
fn a_first_crawl_reads_every_page_with_few_requests() {
    let site = Site::new(1_000);
    let (changes, token) = walk(&site, None, Carry::Documents).unwrap();
    assert_eq!(ids(&changes), (1..=1_000).collect::<Vec<_>>());
    assert_eq!(token.unwrap().to_string(), time(NOW - 3_600_000), "the newest modification seen");
    assert_eq!(site.requests.borrow().len(), 5, "100 + 200 + 250 + 250 + 200 pages");
    let Change::Document(document) = &changes[0] else { panic!() };
    assert_eq!(
        document.reference.metadata.web_url,
        "https://acme.atlassian.net/wiki/spaces/ENG/pages/1/Page+1"
    );
    assert!(document.content.contains("text of 1"));
}

#[test]
fn a_crawl_by_references_brings_no_bodies_and_250_pages_a_request() {
    let site = Site::new(1_000);
    let (changes, _) = walk(&site, None, Carry::References).unwrap();
    assert_eq!(ids(&changes).len(), 1_000);
    assert_eq!(site.requests.borrow().len(), 4);
    assert!(site.requests.borrow().iter().all(|request| !request.contains("body-format")));
}

#[test]
fn a_token_is_never_later_than_the_listing_start_by_the_servers_clock() {
    let site = Site::new(10);
    site.edit(3, NOW - 1_000);
    let (_, token) = walk(&site, None, Carry::Documents).unwrap();
    assert_eq!(token.unwrap().to_string(), time(NOW - 60_000));
}

#[test]
fn an_idle_space_costs_one_small_request_and_keeps_its_token() {
    let site = Site::new(1_000);
    let since = time(NOW - 3_600_000);
    let (changes, token) = walk(&site, Some(&since), Carry::Documents).unwrap();
    assert!(changes.is_empty());
    assert_eq!(token.unwrap().to_string(), since);
    let requests = site.requests.borrow();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].contains("limit=25") && !requests[0].contains("body-format"), "{}", requests[0]);
    assert!(requests[0].contains("sort=-modified-date"), "{}", requests[0]);
    assert!(requests[0].contains("cql=lastModified%20%3E%20%222026-05-31%2023%3A00%22"), "{}", requests[0]);
}

#[test]
fn a_delta_run_reads_only_what_changed_with_few_requests() {
    for changed in [1, 3, 24, 25, 30, 50, 51, 70, 75, 100, 170, 375, 1_000] {
        let site = Site::new(10_000);
        let since = time(NOW - 3_600_000);
        for id in 1..=changed {
            site.edit(id * 7, NOW - 1_800_000 + id as i64);
        }
        let (changes, token) = walk(&site, Some(&since), Carry::Documents).unwrap();
        let mut found = ids(&changes);
        found.sort_unstable();
        assert_eq!(found, (1..=changed).map(|id| id * 7).collect::<Vec<_>>());
        assert_eq!(token.unwrap().to_string(), time(NOW - 1_800_000 + changed as i64));
        let requests = site.requests.borrow().len() as u64;
        assert!(requests * 50 <= changed + 150, "{requests} requests for {changed} changes");
        let bodies =
            site.requests.borrow().iter().filter(|request| request.contains("body-format")).count() as u64;
        assert!(bodies <= changed / 100 + 2, "{bodies} requests with bodies for {changed} changes");
    }
}

#[test]
fn a_second_pass_that_brings_fewer_pages_than_the_first_counted_moves_no_token() {
    let asked = Cell::new(0);
    let site = Site::new(1_000).with_fault(move |query| {
        let with_bodies = query.has("body-format");
        asked.set(asked.get() + u32::from(with_bodies));
        // The second answer with bodies is empty.
        (with_bodies && asked.get() == 2).then(|| Ok(ok(&json!({"results": [], "_links": {}}))))
    });
    let since = time(NOW - 3_600_000);
    for id in 1..=300 {
        site.edit(id, NOW - 1_800_000 + id as i64);
    }
    let (changes, token) = walk(&site, Some(&since), Carry::Documents).unwrap();
    assert!(changes.len() < 300);
    assert_eq!(token.unwrap().to_string(), since);
}

#[test]
fn pages_edited_between_the_probe_and_the_second_pass_are_read_too() {
    let site = Site::new(100);
    let since = time(NOW - 3_600_000);
    site.edit(1, NOW - 1_000_000);
    site.edit(2, NOW - 1_000_001);
    let probe = step(&site, Some(&since), Carry::Documents, None).unwrap();
    assert!(probe.changes.is_empty() && probe.next.is_some());
    for id in 50..=80 {
        site.edit(id, NOW - 500_000 + id as i64);
    }
    let mut found = Vec::new();
    let mut cursor = probe.next;
    while let Some(text) = cursor {
        let batch = step(&site, Some(&since), Carry::Documents, Some(&text)).unwrap();
        found.extend(ids(&batch.changes));
        cursor = batch.next;
    }
    found.sort_unstable();
    assert_eq!(found, [1, 2].into_iter().chain(50..=80).collect::<Vec<_>>());
}

#[test]
fn a_page_that_slides_into_the_next_batch_is_emitted_once() {
    let site = Site::new(200);
    let since = time(NOW - 86_400_000);
    let first = step(&site, Some(&since), Carry::References, None).unwrap();
    // This site pages by offset: a page that moves to the top pushes the last one of the batch into the next.
    site.edit(1, NOW - 500);
    let second = step(&site, Some(&since), Carry::References, first.next.as_deref()).unwrap();
    let seen: Vec<_> = ids(&first.changes).into_iter().chain(ids(&second.changes)).collect();
    let mut once = seen.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), seen.len());
}

#[test]
fn an_order_that_is_broken_is_read_to_the_end() {
    let site = Site::new(400);
    site.honours_sort.set(false);
    let since = time(NOW - 3_600_000);
    site.edit(399, NOW - 1_000_000);
    let (changes, _) = walk(&site, Some(&since), Carry::Documents).unwrap();
    assert_eq!(ids(&changes), [399]);
}

#[test]
fn an_order_that_is_broken_is_found_out_also_where_answers_are_small() {
    for largest in [1, 2, 5, 11] {
        let site = Site::new(40);
        site.honours_sort.set(false);
        site.largest_answer.set(largest);
        let since = time(NOW - 3_600_000);
        site.edit(39, NOW - 1_000_000);
        let (changes, _) = walk(&site, Some(&since), Carry::Documents).unwrap();
        assert_eq!(ids(&changes), [39], "at {largest} a request");
    }
}

#[test]
fn large_pages_come_in_smaller_stretches() {
    for (padding, most) in [(100_000, 53), (1_000_000, 10)] {
        let site = Site::new(200);
        site.padding.set(padding);
        assert_eq!(ids(&walk(&site, None, Carry::Documents).unwrap().0).len(), 200);
        let requests = site.requests.borrow();
        let limits = requests[1..].iter().filter_map(|request| {
            let (_, rest) = request.split_once("limit=")?;
            rest.split('&').next()?.parse::<u32>().ok()
        });
        for limit in limits {
            assert!(limit <= most, "{limit} pages of {padding} bytes at once");
        }
    }
}

#[test]
fn a_stretch_of_references_is_read_again_with_bodies_at_the_same_cursor() {
    let site = Site::new(1_000);
    let first = step(&site, None, Carry::References, None).unwrap();
    let second = step(&site, None, Carry::References, first.next.as_deref()).unwrap();
    site.requests.borrow_mut().clear();
    let again = step(&site, None, Carry::Documents, first.next.as_deref()).unwrap();
    assert_eq!(ids(&again.changes), ids(&second.changes));
    assert!(again.changes.iter().all(|change| matches!(change, Change::Document(_))));
    assert_eq!(site.requests.borrow().len(), 1);
}

#[test]
fn a_server_that_gives_fewer_pages_than_asked_is_read_to_the_end() {
    for largest in [1, 7, 25, 249] {
        let site = Site::new(500);
        site.largest_answer.set(largest);
        assert_eq!(ids(&walk(&site, None, Carry::Documents).unwrap().0).len(), 500, "at {largest} a request");
    }
}

#[test]
fn an_empty_answer_with_a_next_link_is_not_the_end() {
    let empty = Cell::new(true);
    let site = Site::new(5).with_fault(move |query| {
        (empty.replace(false) && query.path.ends_with("/pages")).then(|| {
            Ok(ok(&json!({"results": [], "_links": {"next": "/wiki/api/v2/spaces/7/pages?cursor=0"}})))
        })
    });
    assert_eq!(ids(&walk(&site, None, Carry::Documents).unwrap().0), [1, 2, 3, 4, 5]);
}

#[test]
fn a_refused_predicate_is_left_out_and_not_tried_again() {
    let site =
        Site::new(300).with_fault(|query| query.has("cql").then(|| Ok(status(400, &json!({"errors": []})))));
    let since = time(NOW - 3_600_000 - 200 * 60_000);
    assert_eq!(ids(&walk(&site, Some(&since), Carry::Documents).unwrap().0).len(), 200);
    let refused = site.requests.borrow().iter().filter(|request| request.contains("cql=")).count();
    assert_eq!(refused, 1);
}

#[test]
fn a_listing_that_fails_with_bodies_shrinks_and_grows_again() {
    let site = Site::new(600).with_fault(|query| {
        (query.has("body-format") && query.number("limit") > Some(60))
            .then(|| Err(TransportError::Unavailable("time-out".to_owned())))
    });
    assert_eq!(ids(&walk(&site, None, Carry::Documents).unwrap().0), (1..=600).collect::<Vec<_>>());
}

#[test]
fn one_poisonous_page_costs_one_failure() {
    let site = Site::new(300).with_fault(|query| {
        let poisonous = 137;
        let first = query.number("cursor").unwrap_or(0) + 1;
        let listed = query.has("body-format")
            && query.number("limit").is_some_and(|limit| (first..first + limit).contains(&poisonous));
        let read = query.path.ends_with("/pages/137");
        (listed || read).then(|| Ok(status(500, &json!({"message": "cannot render"}))))
    });
    let (changes, token) = walk(&site, None, Carry::Documents).unwrap();
    let (failures, documents): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| matches!(change, Change::Failure(_)));
    assert_eq!(ids(&documents).len(), 299);
    let [Change::Failure(failure)] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!((failure.id.as_str(), failure.title.as_deref()), ("137", Some("Page 137")));
    assert!(matches!(&failure.cause, Error::Unavailable(text) if text.contains("cannot render")));
    assert!(token.is_some(), "a failed page does not hold the token of the others back");
    assert!(site.requests.borrow().len() < 40, "{} requests", site.requests.borrow().len());
}

#[test]
fn a_page_without_a_readable_version_is_one_failure() {
    let site = Site::new(3).with_fault(|_| {
        Some(Ok(ok(&json!({"results": [
            Site::new(0).page(1, (NOW - 9_000_000, 1), true),
            {"id": "2", "title": "Odd", "version": null},
            {"id": "4", "title": "No body", "version": {"createdAt": time(NOW - 9_000_000), "number": 1}, "body": {}},
        ]}))))
    });
    let (changes, _) = walk(&site, None, Carry::Documents).unwrap();
    assert!(matches!(&changes[0], Change::Document(_)));
    assert!(matches!(&changes[1], Change::Failure(failure) if failure.id == "2"));
    assert!(matches!(&changes[2], Change::Failure(failure) if failure.id == "4"), "{:?}", changes[2]);
}

#[test]
fn an_empty_body_is_an_empty_page_and_no_failure() {
    let site = Site::new(1).with_fault(|_| {
        let mut page = Site::new(0).page(1, (NOW - 9_000_000, 1), true);
        page["body"]["storage"]["value"] = json!("");
        Some(Ok(ok(&json!({"results": [page]}))))
    });
    let (changes, _) = walk(&site, None, Carry::Documents).unwrap();
    assert!(matches!(&changes[..], [Change::Document(_)]), "{changes:?}");
}

#[test]
fn a_lost_credential_stops_the_walk_and_ends_no_listing() {
    for answer in [
        status(401, &json!({})),
        status(403, &json!({})),
        status(
            404,
            &json!({"errors": [{"status": 404, "code": "NOT_FOUND", "title": "Not Found", "detail": null}]}),
        ),
    ] {
        let site = Site::new(1_000).with_fault(move |query| query.has("cursor").then(|| Ok(answer.clone())));
        let first = step(&site, None, Carry::Documents, None).unwrap();
        assert!(first.next.is_some());
        let error = step(&site, None, Carry::Documents, first.next.as_deref()).unwrap_err();
        assert!(matches!(error, Error::Authentication(_) | Error::Forbidden(_)), "{error:?}");
    }
}

#[test]
fn a_rate_limit_keeps_the_cursor_good() {
    let closed = std::rc::Rc::new(Cell::new(false));
    let seen = closed.clone();
    let site = Site::new(300).with_fault(move |_| {
        seen.get()
            .then(|| Ok(Response { status: 429, retry_after: Some("30".to_owned()), ..Response::default() }))
    });
    let first = step(&site, None, Carry::Documents, None).unwrap();
    closed.set(true);
    let again = step(&site, None, Carry::Documents, first.next.as_deref());
    assert_eq!(again.unwrap_err(), Error::RateLimited(Some(30)));
    closed.set(false);
    assert_eq!(ids(&step(&site, None, Carry::Documents, first.next.as_deref()).unwrap().changes)[0], 101);
}

#[test]
fn a_cursor_that_confluence_refuses_is_stale() {
    let site = Site::new(300)
        .with_fault(|query| query.has("cursor").then(|| Ok(status(400, &json!({"errors": []})))));
    let first = step(&site, None, Carry::Documents, None).unwrap();
    assert_eq!(step(&site, None, Carry::Documents, first.next.as_deref()).unwrap_err(), Error::StaleCursor);
    let since = time(NOW - 86_400_000);
    let probe = step(&site, Some(&since), Carry::References, None).unwrap();
    assert_eq!(
        step(&site, Some(&since), Carry::References, probe.next.as_deref()).unwrap_err(),
        Error::StaleCursor
    );
}

#[test]
fn a_server_that_repeats_its_cursor_is_an_error_and_no_endless_crawl() {
    let site = Site::new(1).with_fault(|_| {
        Some(Ok(ok(&json!({"results": [], "_links": {"next": "/wiki/api/v2/spaces/7/pages?cursor=same"}}))))
    });
    assert!(
        matches!(walk(&site, None, Carry::Documents), Err(Error::Malformed(text)) if text.contains("repeats"))
    );
}

#[test]
fn a_next_link_to_another_host_is_never_followed() {
    let site = Site::new(1).with_fault(|_| {
        Some(Ok(ok(
            &json!({"results": [], "_links": {"next": "https://evil.example/wiki/api/v2/spaces?cursor=x"}}),
        )))
    });
    assert!(
        matches!(walk(&site, None, Carry::References), Err(Error::Malformed(text)) if text.contains("another host"))
    );
}

#[test]
fn validation_tells_a_bad_credential_from_a_missing_space() {
    let pinned = |key: &str| Source { space_key: Some(key.to_owned()), ..source() };
    assert_eq!(validate(&source(), &Site::new(1)), Ok(()));
    assert_eq!(validate(&pinned("eng"), &Site::new(1)), Ok(()));
    assert!(
        matches!(validate(&pinned("NOPE"), &Site::new(1)), Err(Error::NotFound(text)) if text.contains("NOPE"))
    );
    for answer in [401, 403, 404] {
        let site = Site::new(1).with_fault(move |_| Some(Ok(status(answer, &json!({})))));
        assert!(matches!(validate(&source(), &site), Err(Error::Authentication(_))), "{answer}");
    }
    let nothing = Site::new(1).with_fault(|_| Some(Ok(ok(&json!({"results": [], "_links": {}})))));
    assert!(matches!(validate(&source(), &nothing), Err(Error::Authentication(_))));
    let page = Site::new(1).with_fault(|_| {
        Some(Ok(Response { status: 200, body: b"<html>log in</html>".to_vec(), ..Response::default() }))
    });
    assert!(matches!(validate(&source(), &page), Err(Error::Malformed(text)) if text.contains("web page")));
}

#[test]
fn spaces_are_listed_to_the_end_and_a_pinned_one_by_its_key() {
    let site = Site::new(1);
    site.largest_answer.set(1);
    let first = list_partitions(&source(), None, None, &site).unwrap();
    let second = list_partitions(&source(), None, first.next.as_deref(), &site).unwrap();
    assert_eq!((first.items[0].key.as_str(), second.items[0].key.as_str()), ("ENG", "~712020a"));
    assert_eq!(second.next, None);
    assert_eq!(second.items[0].name, "~712020a", "a space without a name goes by its key");
    let pinned = list_partitions(&source(), Some("/spaces/eng"), None, &site).unwrap();
    assert_eq!((pinned.items.len(), pinned.items[0].key.as_str()), (1, "ENG"));
}

#[test]
fn a_single_page_is_read_with_the_key_of_its_space() {
    let site = Site::new(5);
    let document = fetch(&source(), "3", &site).unwrap();
    assert_eq!(document.reference.metadata.space_key, "ENG");
    assert!(matches!(fetch(&source(), "99", &site), Err(Error::NotFound(_))));
    for bad in ["", "../spaces", "3?x=1", "abc"] {
        assert!(matches!(fetch(&source(), bad, &site), Err(Error::Malformed(_))), "{bad}");
    }
    assert_eq!(site.requests.borrow().len(), 2, "a bad id is never sent");
}

#[test]
fn only_a_named_404_and_an_other_status_mean_that_a_page_is_gone() {
    for (gone, answer) in [
        (
            true,
            ok(
                &json!({"id": "3", "status": "trashed", "version": {"createdAt": time(NOW), "number": 1}, "_links": {"webui": "/spaces/ENG/pages/3"}}),
            ),
        ),
        (
            true,
            ok(
                &json!({"id": "3", "status": "archived", "version": {"createdAt": time(NOW), "number": 1}, "_links": {"webui": "/spaces/ENG/pages/3"}}),
            ),
        ),
        (false, status(404, &json!({"errors": [{"title": "Not Found"}]}))),
        (false, status(404, &json!({"errors": [{"title": "Cannot find a page with id 4"}]}))),
        (false, status(410, &json!({}))),
        (false, status(401, &json!({}))),
        (false, status(403, &json!({}))),
        (false, status(500, &json!({}))),
        (
            false,
            ok(&json!({"id": "4", "status": "trashed", "version": {"createdAt": time(NOW), "number": 1}})),
        ),
        (false, ok(&json!({"results": []}))),
    ] {
        let shown = format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
        let site = Site::new(5).with_fault(move |_| Some(Ok(answer.clone())));
        let error = fetch(&source(), "3", &site).unwrap_err();
        assert_eq!(matches!(error, Error::NotFound(_)), gone, "{shown}: {error:?}");
    }
}
