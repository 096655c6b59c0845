//! Documents: listed, counted, searched, read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use chrono::DateTime;
use confluence_site::Site;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, Service};

async fn site(pages: usize) -> Site {
    Site::builder().spaces(3).pages(pages).page_bytes(300).start().await.unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// All pages of a list with this query.
async fn all(client: &Client, query: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/api/v1/documents?{query}&cursor={cursor}")).await.expect(200);
        found.extend(page["documents"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return found,
        }
    }
}

fn ids(documents: &[Value]) -> Vec<String> {
    documents.iter().map(|document| text(&document["id"])).collect()
}

#[tokio::test]
async fn documents_are_listed_by_age_and_filtered_and_counted_alike() {
    let (site, service) = (site(60).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    client.sync(&id, "full").await;
    let pages = site.with_state(|state| state.visible_pages());
    let listed = all(&client, "limit=7").await;
    let order: Vec<_> =
        listed.iter().map(|document| (text(&document["modified_at"]), text(&document["id"]))).collect();
    assert!(order.is_sorted_by(|one, other| one > other), "{order:?}");
    assert_eq!(listed.len(), 60);
    assert_eq!(
        ids(&listed).into_iter().collect::<BTreeSet<_>>(),
        pages.iter().map(|page| page.id.clone()).collect()
    );
    let page = pages.iter().find(|page| page.id == order[0].1).unwrap();
    let first = &listed[0];
    assert_eq!((&first["title"], &first["source_id"]), (&json!(page.title), &json!(id)));
    assert_eq!(first["metadata"]["version_number"], page.version);
    assert!(first.get("content").is_none());

    let of = |key: &str| pages.iter().filter(|page| page.space_key == key).count();
    let middle = &order[20].0;
    let other = site_of_another_source(&client).await;
    for (query, count) in [
        (String::new(), 63),
        (format!("source_id={id}"), 60),
        (format!("source_id={}", other.0), 3),
        (format!("source_id={id}&space_key=ENG"), of("ENG")),
        ("space_key=NOPE".to_owned(), 0),
        (
            format!("source_id={id}&modified_after={middle}"),
            order.iter().filter(|(at, _)| at > middle).count(),
        ),
        (format!("source_id={id}&space_key=ENG&modified_after=2099-01-01T00:00:00Z"), 0),
        ("tenant_id=default".to_owned(), 63),
        ("tenant_id=nobody".to_owned(), 0),
    ] {
        assert_eq!(client.count(&query).await, count as u64, "{query}");
        assert_eq!(all(&client, &format!("{query}&limit=9")).await.len(), count, "{query}");
    }
    // The same moment in another zone.
    let later = DateTime::parse_from_rfc3339(middle).unwrap();
    let later = later.with_timezone(&chrono::FixedOffset::east_opt(7200).unwrap()).to_rfc3339();
    let query = format!("source_id={id}&modified_after={}", later.replace('+', "%2B"));
    assert_eq!(
        client.count(&query).await,
        client.count(&format!("source_id={id}&modified_after={middle}")).await
    );

    for query in ["limit=0", "limit=201", "limit=x", "modified_after=yesterday", "cursor=AAAA", "cursor=%00"]
    {
        client.get(&format!("/api/v1/documents?{query}")).await.problem(400, "invalid-request");
    }
    client.get("/api/v1/documents?source_id=unknown").await.problem(404, "not-found");
    let long = "x".repeat(401);
    client.get(&format!("/api/v1/documents?q={long}")).await.problem(400, "invalid-request");
    // A cursor is good for the list that gave it.
    let page = client.get("/api/v1/documents?limit=1").await.expect(200);
    let cursor = page["next"].as_str().unwrap();
    client.get(&format!("/api/v1/documents?q=a&cursor={cursor}")).await.problem(400, "invalid-request");
    client.get(&format!("/api/v1/changes?after={cursor}")).await.problem(400, "invalid-request");
}

/// A second source with 3 documents.
async fn site_of_another_source(client: &Client) -> (String, Site) {
    let other = Site::builder().spaces(1).pages(3).seed(9).start().await.unwrap();
    let id = client.register(&other, &json!({})).await;
    client.sync(&id, "full").await;
    (id, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_change_is_listed_exactly_once_whatever_is_written_meanwhile() {
    let (site, service) = (site(150).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    client.sync(&id, "full").await;
    let pages: Vec<_> =
        site.with_state(|state| state.visible_pages()).into_iter().map(|page| page.id).collect();
    let (changing, still) = pages.split_at(50);
    let (over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let writer = {
        let (client, site, id) = (client.clone(), site.clone(), id.clone());
        let (over, written) = (Arc::clone(&over), Arc::clone(&written));
        let changing = changing.to_vec();
        tokio::spawn(async move {
            for round in 0.. {
                if over.load(Ordering::Relaxed) {
                    return round;
                }
                site.with_state(|state| {
                    for page in changing.iter().skip(round % 5).step_by(5) {
                        state.edit(page, None);
                    }
                });
                client.sync(&id, "delta").await;
                written.fetch_add(1, Ordering::Relaxed);
            }
            0
        })
    };
    let mut looked = 0;
    // However fast the one is and slow the other.
    while looked < 8 || written.load(Ordering::Relaxed) < 3 {
        looked += 1;
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for id in ids(&all(&client, "limit=4").await) {
            *seen.entry(id).or_default() += 1;
        }
        for id in still {
            assert_eq!(seen.get(id), Some(&1), "{id}");
        }
    }
    over.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 2, "nothing was written meanwhile");
}

#[tokio::test]
async fn the_search_finds_what_there_is_and_not_what_is_gone() {
    let (site, service) = (site(30).await, Service::start().await);
    let client = service.administration();
    let (title, body) = site.with_state(|state| {
        let title = state.create_page("ENG", "Zymurgy", Some("<p>Of beer.</p>")).unwrap();
        let body =
            state.create_page("ENG", "Brewing", Some("<p>Zymurgy in a sentence about beer.</p>")).unwrap();
        (title, body)
    });
    let id = client.register(&site, &json!({})).await;
    client.sync(&id, "full").await;
    let found = |query: &str| format!("/api/v1/documents?q={query}");
    let of = |answer: &Value| ids(answer["documents"].as_array().unwrap());
    client.until(&found("zymurgy"), |answer| of(answer) == [title.clone(), body.clone()]).await;
    for (query, expected) in [
        ("zymur", vec![&title, &body]),
        ("zymurgy%20sentence", vec![&body]),
        ("%22in%20a%20sentence%22", vec![&body]),
        ("%22sentence%20in%22", vec![]),
        ("zymurgy&space_key=OPS", vec![]),
        ("zymurgy&tenant_id=nobody", vec![]),
        ("%22", vec![]),
        ("zymurgy%00in", vec![&body]),
        ("xyzzy%20OR%20(*", vec![]),
    ] {
        let answer = client.get(&found(query)).await.expect(200);
        assert_eq!(of(&answer).iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let paged = all(&client, "q=beer&limit=1").await;
    assert_eq!(
        ids(&paged).into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([title.clone(), body.clone()])
    );

    site.with_state(|state| {
        state.purge(&title);
        state.edit(&body, Some("<p>Of wine.</p>"));
    });
    client.sync(&id, "full").await;
    // At once, also before the index is brought up to date.
    assert!(of(&client.get(&found("zymurgy")).await.expect(200)).is_empty());
    client.until(&found("wine%20brewing"), |answer| of(answer) == [body.clone()]).await;
}

#[tokio::test]
async fn a_document_is_read_as_json_or_markdown_and_not_again_while_it_stays_the_same() {
    let (site, service) = (site(3).await, Service::start().await);
    let client = service.administration();
    let page =
        site.with_state(|state| state.create_page("ENG", "Tea", Some("<p>Black <em>tea</em>.</p>")).unwrap());
    let id = client.register(&site, &json!({})).await;
    client.sync(&id, "full").await;
    let path = format!("/api/v1/sources/{id}/documents/{page}");
    let read = async |accept: &str, tag: Option<&str>| {
        let mut request = client.request(Method::GET, &path).header("accept", accept);
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        client.send(request).await
    };
    let json_form = read("application/json", None).await;
    assert_eq!(json_form.expect(200)["content"], "# Tea\n\nBlack *tea*.\n");
    assert_eq!(json_form.expect(200)["metadata"]["space_key"], "ENG");
    let markdown = read("text/markdown", None).await;
    assert_eq!((markdown.status.as_u16(), markdown.text.as_str()), (200, "# Tea\n\nBlack *tea*.\n"));
    assert_eq!(markdown.header("content-type"), "text/markdown; charset=utf-8");
    let (of_json, of_markdown) = (json_form.header("etag"), markdown.header("etag"));
    assert_ne!(of_json, of_markdown);
    for (accept, tag, status) in [
        ("application/json", of_json, 304),
        ("text/markdown", of_markdown, 304),
        ("text/markdown", of_json, 200),
        ("application/json", of_markdown, 200),
        ("application/json", &format!("\"x\", W/{of_json}"), 304),
        ("application/json", "*", 304),
    ] {
        let answer = read(accept, Some(tag)).await;
        assert_eq!(answer.status, status, "{accept} {tag}");
        assert!(answer.header("vary").contains("accept"), "{answer:?}");
        if status == 304 {
            assert!(answer.text.is_empty() && !answer.header("etag").is_empty());
        }
    }
    site.with_state(|state| state.edit(&page, Some("<p>Green tea.</p>")));
    client.sync(&id, "delta").await;
    assert_eq!(read("text/markdown", Some(of_markdown)).await.text, "# Tea\n\nGreen tea.\n");
    assert_eq!(read("application/json", Some(of_json)).await.expect(200)["content"], "# Tea\n\nGreen tea.\n");
    // It says what it was, whatever process answers.
    let tag = read("text/markdown", None).await.header("etag").to_owned();
    let service = service.restart(|_| {}).await;
    let client = service.administration();
    let request =
        client.request(Method::GET, &path).header("accept", "text/markdown").header("if-none-match", tag);
    assert_eq!(client.send(request).await.status, 304);
    client.get(&format!("/api/v1/sources/{id}/documents/1")).await.problem(404, "not-found");
    client.get(&format!("/api/v1/sources/unknown/documents/{page}")).await.problem(404, "not-found");
}

#[tokio::test]
async fn pages_that_could_not_be_had_and_spaces_are_listed() {
    let (site, service) = (site(30).await, Service::start().await);
    let client = service.administration();
    let broken = site.with_state(|state| {
        let page = state.visible_pages()[0].clone();
        state.set_broken(&page.id, true);
        page
    });
    let id = client.register(&site, &json!({})).await;
    let run = client.sync(&id, "full").await;
    assert_eq!(run["summary"]["documents"]["failed"], 1, "{run}");
    let path = format!("/api/v1/sources/{id}");
    let failures = client.get(&format!("{path}/failures")).await.expect(200);
    let [failure] = failures["failures"].as_array().unwrap().as_slice() else { panic!("{failures}") };
    assert_eq!((&failure["id"], &failure["attempts"]), (&json!(broken.id), &json!(1)));
    assert!(text(&failure["web_url"]).ends_with(&broken.id));
    assert_eq!(client.get(&path).await.expect(200)["failures"], 1);

    let spaces = client.get(&format!("{path}/spaces")).await.expect(200);
    let count = |space: &Value| space["documents"].as_u64().unwrap();
    assert_eq!(spaces["spaces"].as_array().unwrap().iter().map(count).sum::<u64>(), 29);
    site.with_state(|state| state.set_broken(&broken.id, false));
    client.sync(&id, "delta").await;
    assert_eq!(client.get(&format!("{path}/failures")).await.expect(200), json!({"failures": []}));
}
