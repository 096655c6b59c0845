//! Tenants: what one has is for another as if it were not there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use confluence_site::Site;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client, Service, document};

/// What a tenant has, by the name that the description gives to its id; and its cursors.
struct Belongings {
    ids: BTreeMap<&'static str, String>,
    cursors: BTreeMap<&'static str, String>,
    /// Texts that show that something is this tenant's.
    marks: Vec<String>,
}

/// A tenant with a synced source, whose every page says `word`.
async fn tenant(service: &Service, id: &str, word: &str) -> (Client, Belongings, Site) {
    let client = service.tenant(id).await;
    let site = Site::builder().spaces(1).pages(3).page_bytes(300).start().await.unwrap();
    site.with_state(|state| {
        for page in state.visible_pages() {
            state.rename(&page.id, &format!("{word} {}", page.id));
            state.edit(&page.id, Some(&format!("<p>All about {word}.</p>")));
        }
    });
    let source = client.register(&site, &json!({"schedule": {"run_every_seconds": 3600}})).await;
    let run = client.sync(&source, "full").await["id"].as_str().unwrap().to_owned();
    let search = format!("/api/v1/documents?limit=1&q={word}");
    let found = client.until(&search, |found| found["next"].is_string()).await;
    let listed = client.get("/api/v1/documents?limit=1").await.expect(200);
    let changes = client.get("/api/v1/changes?limit=1").await.expect(200);
    let keys = service.administration().get(&format!("/api/v1/keys?tenant_id={id}")).await.expect(200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let key = text(&keys["keys"][0]["id"]);
    let marks = vec![source.clone(), run.clone(), key.clone(), word.to_owned(), site.base_url()];
    let ids = BTreeMap::from([
        ("source_id", source),
        ("run_id", run.clone()),
        ("before", run),
        ("document_id", text(&listed["documents"][0]["id"])),
        ("key_id", key),
        ("tenant_id", id.to_owned()),
    ]);
    let cursors = BTreeMap::from([
        ("listed", text(&listed["next"])),
        ("found", text(&found["next"])),
        ("changes", text(&changes["cursor"])),
    ]);
    (client, Belongings { ids, cursors, marks }, site)
}

/// As the ids of a tenant, and none of them.
fn unknown(name: &str) -> &'static str {
    match name {
        "source_id" | "run_id" | "before" | "key_id" => "0123456789abcdef",
        "document_id" => "999999999",
        "tenant_id" => "nobody",
        other => panic!("say here what an unknown {other} is"),
    }
}

/// An operation of the description.
struct Operation {
    method: Method,
    path: String,
    /// Names, by where they stand: `path`, `query`, `header`.
    parameters: Vec<(String, String)>,
    /// A body that is good in itself.
    body: Option<Value>,
    administration: bool,
}

async fn operations(client: &Client, site: &Site) -> Vec<Operation> {
    let api = client.get("/openapi.json").await.expect(200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut operations = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let body = schema.as_str().map(|schema| match schema.rsplit('/').next().unwrap() {
                "NewSource" => document(site, &json!({})),
                "SourceChange" => json!({"schedule": null}),
                "NewRun" => json!({"mode": "full"}),
                "NewTenant" => json!({"id": "third", "name": "Third"}),
                "NewKey" => json!({"name": "mine"}),
                other => panic!("say here what a good {other} is"),
            });
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                parameters: parameters.map(|one| (text(&one["in"]), text(&one["name"]))).collect(),
                body,
                administration: text(&operation["tags"][0]) == "keys",
            });
        }
    }
    operations
}

impl Operation {
    fn named(&self, place: &str) -> impl Iterator<Item = &str> {
        self.parameters.iter().filter(move |(stands, _)| stands == place).map(|(_, name)| name.as_str())
    }

    /// Asks with these values in the path, and this query.
    async fn ask(
        &self,
        client: &Client,
        id: impl Fn(&str) -> String,
        query: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut path = self.path.clone();
        for name in self.named("path") {
            path = path.replace(&format!("{{{name}}}"), &id(name));
        }
        match body.or(self.body.as_ref()) {
            Some(body) => {
                client.with_body(self.method.clone(), &format!("{path}?{query}"), body.to_string()).await
            }
            None => client.send(client.request(self.method.clone(), &format!("{path}?{query}"))).await,
        }
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Both are the same in status, body, and the headers that say something.
#[track_caller]
fn assert_same(what: &str, theirs: &Answer, none: &Answer) {
    assert_eq!((theirs.status, &theirs.text), (none.status, &none.text), "{what}");
    let headers = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        headers.remove("date");
        headers
    };
    assert_eq!(headers(theirs), headers(none), "{what}");
}

#[tokio::test]
async fn what_another_tenant_has_is_to_every_operation_what_does_not_exist() {
    let service = Service::start().await;
    let (theirs, of_theirs, site) = tenant(&service, "acme", "zymurgy").await;
    let (ours, of_ours, _other) = tenant(&service, "other", "philately").await;
    let state = async || {
        let mut state = Vec::new();
        for path in ["sources", "documents", "changes"] {
            state.push(theirs.get(&format!("/api/v1/{path}")).await.expect(200));
        }
        let keys = service.administration().get("/api/v1/keys").await.expect(200);
        (state, keys, service.administration().get("/api/v1/tenants").await.expect(200))
    };
    let (before, nobody) = (state().await, service.client(None));
    let operations = operations(&ours, &site).await;
    let mut met = BTreeMap::from([("path", 0), ("query", 0), ("forbidden", 0), ("own", 0)]);
    for operation in &operations {
        let name = operation.name();
        let own = |name: &str| of_ours.ids[name].clone();
        operation.ask(&nobody, own, "", None).await.problem(401, "unauthorized");
        if operation.administration {
            let their = operation.ask(&ours, |name| of_theirs.ids[name].clone(), "", None).await;
            let none = operation.ask(&ours, |name| unknown(name).to_owned(), "", None).await;
            their.problem(403, "forbidden");
            assert_same(&name, &their, &none);
            *met.get_mut("forbidden").unwrap() += 1;
            continue;
        }
        // Each id in the path by itself, the others being ours.
        for wrong in operation.named("path") {
            let with = |value: &str| {
                let value = value.to_owned();
                move |name: &str| if name == wrong { value.clone() } else { own(name) }
            };
            // Pages have the ids that Confluence gave them, on each site its own.
            let theirs = if wrong == "document_id" { "4242" } else { &of_theirs.ids[wrong] };
            let their = operation.ask(&ours, with(theirs), "", None).await;
            let none = operation.ask(&ours, with(unknown(wrong)), "", None).await;
            their.problem(404, "not-found");
            assert_same(&format!("{name} {wrong}"), &their, &none);
            *met.get_mut("path").unwrap() += 1;
        }
        // All of them.
        if operation.named("path").next().is_some() {
            let their = operation.ask(&ours, |name| of_theirs.ids[name].clone(), "", None).await;
            let none = operation.ask(&ours, |name| unknown(name).to_owned(), "", None).await;
            their.problem(404, "not-found");
            assert_same(&name, &their, &none);
        }
        for parameter in operation.named("query") {
            let (their, none, status) = match parameter {
                "source_id" | "tenant_id" => (of_theirs.ids[parameter].as_str(), unknown(parameter), 404),
                // Of a list of our own: older than what is not in it is nothing.
                "before" => (of_theirs.ids[parameter].as_str(), unknown(parameter), 200),
                "cursor" => (of_theirs.cursors["listed"].as_str(), "AAAA", 400),
                "after" => (of_theirs.cursors["changes"].as_str(), "AAAA", 400),
                "q" | "space_key" | "modified_after" | "limit" | "wait" => continue,
                other => panic!("say here what {other} of another tenant does to {name}"),
            };
            let ask =
                async |value: &str| operation.ask(&ours, own, &format!("{parameter}={value}"), None).await;
            let (their, none) = (ask(their).await, ask(none).await);
            assert_eq!(their.status, status, "{name} {parameter}: {their:?}");
            assert_same(&format!("{name} {parameter}"), &their, &none);
            *met.get_mut("query").unwrap() += 1;
        }
        for parameter in operation.named("header") {
            assert!(
                ["last-event-id", "if-none-match"].contains(&parameter),
                "say here what {parameter} does"
            );
        }
        // For another tenant nothing is made.
        if operation.body.as_ref().is_some_and(|body| body.get("api_token").is_some()) {
            let for_tenant = |id: &str| {
                let mut body = operation.body.clone().unwrap();
                body["tenant_id"] = id.into();
                body
            };
            let their = operation.ask(&ours, own, "", Some(&for_tenant("acme"))).await;
            let none = operation.ask(&ours, own, "", Some(&for_tenant("nobody"))).await;
            their.problem(404, "not-found");
            assert_same(&name, &their, &none);
        }
        // What is ours shows nothing of theirs.
        if operation.method == Method::GET && !operation.path.ends_with("/stream") {
            let answer = operation.ask(&ours, own, "", None).await;
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            for mark in &of_theirs.marks {
                assert!(!answer.text.contains(mark), "{name} shows {mark}: {}", answer.text);
            }
            *met.get_mut("own").unwrap() += 1;
        }
    }
    assert!(met.values().all(|count| *count > 4), "{met:?}");
    assert_eq!(state().await, before, "nothing became of all that");
}

#[tokio::test]
async fn lists_counts_search_and_streams_show_nothing_of_another_tenant() {
    let service = Service::start().await;
    let (theirs, of_theirs, site) = tenant(&service, "acme", "zymurgy").await;
    let (ours, of_ours, _other) = tenant(&service, "other", "philately").await;
    for (client, word, count) in [(&ours, "zymurgy", 0), (&ours, "philately", 3), (&theirs, "zymurgy", 3)] {
        let found = client.get(&format!("/api/v1/documents?q={word}")).await.expect(200);
        assert_eq!(found["documents"].as_array().unwrap().len(), count, "{word}");
        assert_eq!(client.count("").await, 3);
    }
    // Words that both have are ranked by our documents alone, and there is no more of them.
    let about = ours.get("/api/v1/documents?q=about").await.expect(200);
    assert_eq!(about["documents"].as_array().unwrap().len(), 3);
    for (cursor, path) in
        [("listed", "documents?cursor="), ("changes", "changes?after="), ("changes", "changes/stream?after=")]
    {
        ours.get(&format!("/api/v1/{path}{}", of_theirs.cursors[cursor]))
            .await
            .problem(400, "invalid-request");
        // Nor for the administration, which has lists of its own.
        let administration = service.administration();
        administration
            .get(&format!("/api/v1/{path}{}", of_theirs.cursors[cursor]))
            .await
            .problem(400, "invalid-request");
    }
    let found = &of_theirs.cursors["found"];
    ours.get(&format!("/api/v1/documents?q=zymurgy&cursor={found}")).await.problem(400, "invalid-request");
    let request = ours
        .request(Method::GET, "/api/v1/changes/stream")
        .header("last-event-id", &of_theirs.cursors["changes"]);
    ours.send(request).await.problem(400, "invalid-request");

    // Whatever they do, nothing of it reaches us: no change, no wake-up, no other number.
    let mut stream = ours.events("/api/v1/changes/stream", None).await;
    let of_source: Vec<_> =
        stream.take(3).await.into_iter().map(|event| event.data["document"]["source_id"].clone()).collect();
    assert_eq!(of_source, vec![json!(of_ours.ids["source_id"]); 3]);
    let last = ours.get("/api/v1/changes").await.expect(200)["cursor"].clone();
    let cursor = last.as_str().unwrap();
    let (their_source, mut cursors) = (&of_theirs.ids["source_id"], Vec::new());
    for _ in 0..12 {
        site.with_state(|state| {
            for page in state.visible_pages() {
                state.edit(&page.id, None);
            }
        });
        theirs.sync(their_source, "delta").await;
        let now = ours.get(&format!("/api/v1/changes?after={cursor}")).await.expect(200);
        assert_eq!(now, json!({"changes": [], "cursor": cursor, "more": false}));
        let again = ours.get("/api/v1/changes").await.expect(200);
        cursors.push(again["cursor"].as_str().unwrap().to_owned());
    }
    assert!(cursors.iter().all(|one| one == cursor), "{cursors:?}");
    theirs.delete(&format!("/api/v1/sources/{their_source}")).await.expect(204);
    let own = &of_ours.ids["source_id"];
    ours.delete(&format!("/api/v1/sources/{own}")).await.expect(204);
    // The next that the stream tells is ours.
    let next = stream.take(3).await;
    assert!(
        next.iter().all(|event| event.name == "removal" && event.data["source_id"] == json!(own)),
        "{next:?}"
    );
    // However many changes there were, a cursor is as long.
    assert!(next.iter().all(|event| event.id.len() == cursor.len()));
}

#[tokio::test]
async fn both_may_have_the_same_site_and_account() {
    let service = Service::start().await;
    let (theirs, _, site) = tenant(&service, "acme", "zymurgy").await;
    let ours = service.tenant("other").await;
    let id = ours.register(&site, &json!({})).await;
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    ours.post("/api/v1/sources", &document(&site, &json!({}))).await.problem(409, "conflict");
    ours.sync(&id, "full").await;
    assert_eq!(
        (ours.count("").await, theirs.count("").await, service.administration().count("").await),
        (3, 3, 6)
    );
    ours.delete(&format!("/api/v1/sources/{id}")).await.expect(204);
    assert_eq!((ours.count("").await, theirs.count("").await), (0, 3));
}

#[tokio::test]
async fn the_administration_makes_and_removes_tenants_and_keys() {
    let service = Service::start().await;
    let client = service.administration();
    let (acme, of_acme, _site) = tenant(&service, "acme", "zymurgy").await;
    for (body, status, kind) in [
        (json!({"id": "Acme", "name": "x"}), 400, "invalid-request"),
        (json!({"id": "a".repeat(41), "name": "x"}), 400, "invalid-request"),
        (json!({"id": "b", "name": " "}), 400, "invalid-request"),
        (json!({"id": "acme", "name": "again"}), 409, "conflict"),
    ] {
        client.post("/api/v1/tenants", &body).await.problem(status, kind);
    }
    client.post("/api/v1/keys", &json!({"name": "x", "tenant_id": "nobody"})).await.problem(404, "not-found");
    client.post("/api/v1/keys", &json!({"name": ""})).await.problem(400, "invalid-request");
    client.delete("/api/v1/tenants/acme").await.problem(409, "conflict");
    acme.get("/api/v1/sources").await.expect(200);

    // The list does not hold what opens.
    let second =
        client.post("/api/v1/keys", &json!({"name": "second", "tenant_id": "acme"})).await.expect(201);
    let keys = client.get("/api/v1/keys").await;
    assert_eq!(keys.expect(200)["keys"].as_array().unwrap().len(), 3);
    assert!(!keys.text.contains(second["key"].as_str().unwrap()) && !keys.text.contains(&service.key));
    let second_client = service.client(Some(second["key"].as_str().unwrap().to_owned()));
    second_client.get("/api/v1/sources").await.expect(200);
    client.delete(&format!("/api/v1/keys/{}", second["id"].as_str().unwrap())).await.expect(204);
    second_client.get("/api/v1/sources").await.problem(401, "unauthorized");
    let own = keys.expect(200)["keys"][0]["id"].clone();
    client.delete(&format!("/api/v1/keys/{}", own.as_str().unwrap())).await.problem(409, "conflict");

    acme.delete(&format!("/api/v1/sources/{}", of_acme.ids["source_id"])).await.expect(204);
    client.delete("/api/v1/tenants/acme").await.expect(204);
    acme.get("/api/v1/sources").await.problem(401, "unauthorized");
    // Whoever is called so later has nothing of it.
    let again = service.tenant("acme").await;
    let changes = again.get("/api/v1/changes").await.expect(200);
    assert_eq!((again.count("").await, &changes["changes"]), (0, &json!([])));
    assert_eq!(again.get("/api/v1/documents?q=zymurgy").await.expect(200)["documents"], json!([]));
    // Keys that the command line made let in at once.
    let bench = std::sync::Arc::clone(&service.bench);
    let made = tokio::task::spawn_blocking(move || bench.kai(&["keys", "add", "mine", "--tenant", "acme"]));
    let key = crate::support::stdout(&made.await.unwrap()).trim().to_owned();
    service.client(Some(key)).get("/api/v1/sources").await.expect(200);
}

#[tokio::test]
async fn an_address_with_many_wrong_keys_has_to_wait_and_good_keys_never() {
    let service = Service::start().await;
    let wrong = |number: u32| service.client(Some(format!("kai_{number:043}")));
    for number in 0..10 {
        wrong(number).get("/api/v1/sources").await.problem(401, "unauthorized");
    }
    let limited = wrong(10).get("/api/v1/sources").await;
    limited.problem(429, "rate-limited");
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    assert!((1..=6).contains(&wait) && limited.expect(429)["retry_after"] == wait, "{limited:?}");
    // What is no key at all is one more.
    let no_key = service.client(None);
    let request = no_key.request(Method::GET, "/api/v1/sources").header("authorization", "Basic YTpi");
    no_key.send(request).await.problem(429, "rate-limited");
    // A good one from there is let in, and so is nobody's request that needs none.
    service.administration().get("/api/v1/sources").await.expect(200);
    no_key.get("/healthz").await;
    no_key.get("/api/v1/sources").await.problem(401, "unauthorized");
    // Another address is not the same.
    let mut elsewhere = wrong(11);
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    elsewhere.http = reqwest_from(address);
    elsewhere.get("/api/v1/sources").await.problem(401, "unauthorized");
    // It is paid off bit by bit.
    tokio::time::sleep(std::time::Duration::from_secs(wait + 1)).await;
    wrong(12).get("/api/v1/sources").await.problem(401, "unauthorized");
}

fn reqwest_from(address: IpAddr) -> reqwest::Client {
    crate::client::builder(None).local_address(address).build().unwrap()
}
