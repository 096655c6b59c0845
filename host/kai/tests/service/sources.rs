//! Sources: registered, read, changed and removed.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use confluence_site::Site;
use kai::store::{Schedule, SqliteStore};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, Service, document};
use crate::support::Bench;

const NEW_TOKEN: &str = "new-token-8d2e";

async fn site(pages: usize) -> Site {
    Site::builder().spaces(3).pages(pages).page_bytes(300).start().await.unwrap()
}

async fn sources(client: &Client) -> Vec<Value> {
    client.get("/api/v1/sources").await.expect(200)["sources"].as_array().unwrap().clone()
}

fn time(value: &Value) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap().to_utc()
}

#[tokio::test]
async fn a_source_is_tried_at_confluence_before_it_is_kept() {
    let (site, service) = (site(30).await, Service::start().await);
    let client = service.administration();
    let sources_path = "/api/v1/sources";
    for (fields, status, kind, told) in [
        (json!({"api_token": "wrong"}), 422, "authentication", ""),
        (json!({"space_key": "NOPE"}), 422, "not-found", "NOPE"),
        (json!({"scope_path": "/spaces/NOPE"}), 422, "not-found", "NOPE"),
        (json!({"kind": "WIKI"}), 422, "invalid-source", "CONFLUENCE"),
        (json!({"api_token": ""}), 422, "invalid-source", "api_token"),
        (json!({"api_token": 12345}), 422, "invalid-request", "api_token must be a string"),
        (json!({"base_url": "ftp://a.example"}), 422, "invalid-source", "base_url"),
        (json!({"interval": 5}), 422, "invalid-request", "interval"),
        (json!({"email": null}), 422, "invalid-request", "email"),
        (json!({"tenant_id": "nobody"}), 404, "not-found", "tenant"),
        (json!({"schedule": {"run_every_seconds": 5}}), 400, "invalid-request", "run_every_seconds"),
    ] {
        let refused = client.post(sources_path, &document(&site, &fields)).await;
        let detail = refused.problem(status, kind);
        assert!(detail.contains(told) && !detail.contains("12345"), "{fields}: {detail}");
    }
    assert!(sources(&client).await.is_empty());

    let made = client.post(sources_path, &document(&site, &json!({"space_key": "ENG"}))).await;
    let source = made.expect(201);
    let path = format!("{sources_path}/{}", source["id"].as_str().unwrap());
    assert_eq!(made.header("location"), path);
    assert_eq!(client.get(&path).await.expect(200), source);
    assert_eq!(sources(&client).await, std::slice::from_ref(&source));
    assert_eq!(
        source,
        json!({
            "id": source["id"], "tenant_id": "default", "kind": "CONFLUENCE", "base_url": site.base_url(),
            "email": Site::EMAIL, "space_key": "ENG", "scope_path": null, "cloud_id": null, "token_kept": true,
            "documents": 0, "failures": 0, "schedule": null, "next_run_at": null, "last_run": null,
        })
    );
    let twice = client.post(sources_path, &document(&site, &json!({"space_key": "ENG"}))).await;
    assert!(twice.problem(409, "conflict").contains(source["id"].as_str().unwrap()));
    // Another scope is another source.
    client.register(&site, &json!({})).await;
    assert_eq!(sources(&client).await.len(), 2);
}

#[tokio::test]
async fn what_is_not_registered_can_be_tried_and_leaves_nothing_behind() {
    let (site, service) = (site(30).await, Service::start().await);
    let client = service.administration();
    let path = "/api/v1/validations";
    let good = client.post(path, &document(&site, &json!({"space_key": "ENG"}))).await.expect(200);
    assert_eq!(good, json!({"valid": true, "scope": format!("space ENG of {}", site.base_url())}));
    client.post(path, &document(&site, &json!({"api_token": "wrong"}))).await.problem(422, "authentication");
    assert!(sources(&client).await.is_empty());

    let id = client.register(&site, &json!({})).await;
    let again = format!("/api/v1/sources/{id}/validate");
    assert_eq!(client.post(&again, &Value::Null).await.expect(200)["valid"], true);
    site.with_state(|state| state.set_account(Site::EMAIL, NEW_TOKEN));
    client.post(&again, &Value::Null).await.problem(422, "authentication");
}

#[tokio::test]
async fn without_allow_local_no_site_of_this_machine_is_asked() {
    let site = site(3).await;
    let service = Service::start_with(Arc::new(Bench::new()), &[]).await;
    let refused = service.administration().post("/api/v1/sources", &document(&site, &json!({}))).await;
    assert!(refused.problem(422, "invalid-source").contains("http"));
    assert_eq!(site.statistics().requests, 0);
}

#[tokio::test]
async fn a_token_is_in_no_answer_no_header_and_no_line_of_the_log() {
    let site = site(30).await;
    site.with_state(|state| state.add_account(Site::EMAIL, NEW_TOKEN));
    let service = Service::start_with(Arc::new(Bench::new()), &["--allow-local", "--log", "trace"]).await;
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    let path = format!("/api/v1/sources/{id}");
    client.get(&path).await.expect(200);
    client.get("/api/v1/sources").await.expect(200);
    client.post("/api/v1/validations", &document(&site, &json!({}))).await.expect(200);
    client.post("/api/v1/sources", &document(&site, &json!({}))).await.problem(409, "conflict");
    client.sync(&id, "full").await;
    client.patch(&path, &json!({"api_token": NEW_TOKEN})).await.expect(200);
    client.sync(&id, "full").await;
    client.get("/api/v1/documents").await.expect(200);
    client.get("/api/v1/changes").await.expect(200);
    client.patch(&path, &json!({"api_token": "refused-token-77aa"})).await.problem(422, "authentication");
    // Where it does not belong, and in what is no JSON.
    for body in [
        format!(r#"{{"api_token": "{NEW_TOKEN}"#),
        format!(r#"{{"api_token": {NEW_TOKEN}}}"#),
        format!(r#"{{"api_token": ["{NEW_TOKEN}"]}}"#),
        format!(r#"{{"schedule": "{NEW_TOKEN}"}}"#),
        format!(r#"{{"schedule": {{"run_every_seconds": "{NEW_TOKEN}"}}}}"#),
        format!(r#""{NEW_TOKEN}""#),
        NEW_TOKEN.to_owned(),
    ] {
        for (method, path) in [(Method::PATCH, path.as_str()), (Method::POST, "/api/v1/sources")] {
            let answer = client.with_body(method, path, body.clone()).await;
            assert!(answer.status.is_client_error(), "{answer:?}");
        }
    }
    // Of its digits alone it is no text.
    let number = client.with_body(Method::PATCH, &path, r#"{"api_token": 98765432123}"#.to_owned()).await;
    assert!(number.status.is_client_error());
    let said = service.said.clone();
    drop(service);
    for token in [Site::TOKEN, NEW_TOKEN, "refused-token-77aa", "98765432123"] {
        said.assert_without(token);
    }
    assert!(said.text().contains(&id) && said.text().contains("component loaded"), "what was looked through");
}

#[tokio::test]
async fn a_new_token_is_kept_only_if_confluence_takes_it() {
    let (site, service) = (site(30).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    let path = format!("/api/v1/sources/{id}");
    let before = client.get(&path).await.expect(200);
    client.patch(&path, &json!({"api_token": "wrong"})).await.problem(422, "authentication");
    client.patch(&path, &json!({"api_token": " "})).await.problem(400, "invalid-request");
    assert_eq!(client.get(&path).await.expect(200), before);
    client.sync(&id, "delta").await;

    site.with_state(|state| state.set_account(Site::EMAIL, NEW_TOKEN));
    let run = client.begin(&id, "delta").await;
    let run = client.ended(&id, &run).await;
    assert_eq!((&run["state"], &run["problem"]["kind"]), (&json!("failed"), &json!("authentication")));
    client.patch(&path, &json!({"api_token": NEW_TOKEN})).await.expect(200);
    client.sync(&id, "delta").await;
    // Another process opens it, too.
    let service = service.restart(|_| {}).await;
    service.administration().sync(&id, "delta").await;
}

#[tokio::test]
async fn in_another_scope_the_next_run_is_full_and_what_is_out_of_it_goes() {
    let (site, service) = (site(30).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    let path = format!("/api/v1/sources/{id}");
    client.sync(&id, "full").await;
    assert_eq!(client.sync(&id, "delta").await["summary"]["mode"], "delta");
    client.patch(&path, &json!({"space_key": "NOPE"})).await.problem(422, "not-found");
    assert_eq!(client.sync(&id, "delta").await["summary"]["mode"], "delta", "nothing changed");

    let source = client.patch(&path, &json!({"space_key": "ENG"})).await.expect(200);
    assert_eq!((&source["id"], &source["space_key"]), (&json!(id), &json!("ENG")));
    let run = client.sync(&id, "delta").await;
    assert_eq!((&run["summary"]["mode"], &run["problem"]), (&json!("full"), &Value::Null), "{run}");
    let spaces = client.get(&format!("{path}/spaces")).await.expect(200);
    assert_eq!(spaces, json!({"spaces": [{"key": "ENG", "documents": client.count("").await}]}));
    assert_eq!(client.sync(&id, "delta").await["summary"]["mode"], "delta");

    let source = client.patch(&path, &json!({"space_key": null})).await.expect(200);
    assert_eq!(source["space_key"], Value::Null);
    client.sync(&id, "delta").await;
    assert_eq!(client.count("").await, 30);
}

#[tokio::test]
async fn where_another_scope_leaves_many_out_their_removal_has_to_be_confirmed() {
    let (site, service) = (site(90).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    client.sync(&id, "full").await;
    client.patch(&format!("/api/v1/sources/{id}"), &json!({"scope_path": "/spaces/ENG"})).await.expect(200);
    let run = client.sync(&id, "delta").await;
    assert_eq!(run["problem"]["kind"], "removals-refused", "{run}");
    assert_eq!(client.count("").await, 90);
    let confirm = format!("/api/v1/sources/{id}/runs/{}/confirm-removals", run["id"].as_str().unwrap());
    let confirmed = client.post(&confirm, &Value::Null).await.expect(202);
    let confirmed = client.ended(&id, confirmed["id"].as_str().unwrap()).await;
    assert_eq!((&confirmed["state"], &confirmed["problem"]), (&json!("completed"), &Value::Null));
    let left = client.count("").await;
    assert!(left > 0 && left < 90 && client.count("space_key=ENG").await == left, "{left}");
}

#[tokio::test]
async fn a_scope_does_not_change_under_a_run_and_not_to_that_of_another_source() {
    let (site, service) = (site(60).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({"space_key": "ENG"})).await;
    let path = format!("/api/v1/sources/{id}");
    let other = client.register(&site, &json!({})).await;
    let twice = client.patch(&path, &json!({"space_key": null})).await;
    assert!(twice.problem(409, "conflict").contains(&other));
    assert_eq!(client.get(&path).await.expect(200)["space_key"], "ENG");
    // The same again is no other scope.
    client.patch(&path, &json!({"space_key": "ENG"})).await.expect(200);

    site.set_latency(Duration::from_millis(300));
    let run = client.begin(&id, "full").await;
    client.patch(&path, &json!({"scope_path": "OPS"})).await.problem(409, "conflict");
    // What has nothing to do with the scope does.
    client.patch(&path, &json!({"schedule": {"run_every_seconds": 3600}})).await.expect(200);
    client.post(&format!("{path}/runs/{run}/cancel"), &Value::Null).await.expect(202);
}

#[tokio::test]
async fn runs_begin_by_themselves_and_of_those_that_were_missed_one() {
    let (site, service) = (site(12).await, Service::start().await);
    let client = service.administration();
    let id = client.register(&site, &json!({"schedule": {"run_every_seconds": 3600}})).await;
    let path = format!("/api/v1/sources/{id}");
    let source = client.get(&path).await.expect(200);
    assert_eq!(source["schedule"], json!({"run_every_seconds": 3600, "full_every_seconds": 86400}));
    let until = (time(&source["next_run_at"]) - Utc::now()).num_seconds();
    assert!((3200..=3961).contains(&until), "{until}");

    // A process that was away for days finds its schedule again, and one run to make.
    let service = service
        .restart(|bench| {
            let mut store = SqliteStore::open(&bench.path("kai-data")).unwrap();
            let schedule = Schedule {
                run_every: Some(Duration::from_secs(3600)),
                full_every: Some(Duration::from_secs(86400)),
                next_run_at: Some((Utc::now() - chrono::TimeDelta::days(3)).to_rfc3339()),
            };
            assert!(store.set_schedule(source["id"].as_str().unwrap(), &schedule).unwrap());
        })
        .await;
    let client = service.administration();
    let ended = |source: &Value| {
        source["last_run"]["state"] == "completed" && time(&source["next_run_at"]) > Utc::now()
    };
    let source = client.until(&path, ended).await;
    assert_eq!((&source["documents"], &source["last_run"]["summary"]["mode"]), (&json!(12), &json!("full")));
    let until = (time(&source["next_run_at"]) - Utc::now()).num_seconds();
    assert!((3200..=3961).contains(&until), "{until}");
    let runs = client.get(&format!("{path}/runs")).await.expect(200);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{runs}");

    // It is not begun anew by a restart, and over when somebody says so.
    let service = service.restart(|_| {}).await;
    let client = service.administration();
    assert_eq!(client.get(&path).await.expect(200)["next_run_at"], source["next_run_at"]);
    for seconds in [0_u64, 59, 315_360_001] {
        let refused = client.patch(&path, &json!({"schedule": {"run_every_seconds": seconds}})).await;
        assert!(refused.problem(400, "invalid-request").contains("run_every_seconds"));
    }
    let source = client.patch(&path, &json!({"schedule": null})).await.expect(200);
    assert_eq!((&source["schedule"], &source["next_run_at"]), (&Value::Null, &Value::Null));
    let service = service.restart(|_| {}).await;
    assert_eq!(service.administration().get(&path).await.expect(200)["schedule"], Value::Null);
}

/// Makes a source due at once when the service starts again.
fn make_due(bench: &Bench, source: &str) {
    let schedule = Schedule {
        run_every: Some(Duration::from_secs(3600)),
        full_every: Some(Duration::from_secs(86400)),
        next_run_at: Some(Utc::now().to_rfc3339()),
    };
    let mut store = SqliteStore::open(&bench.path("kai-data")).unwrap();
    assert!(store.set_schedule(source, &schedule).unwrap());
}

/// A scheduled run that was cancelled before its turn came used to be the last one until the service started again.
#[tokio::test]
async fn a_schedule_goes_on_after_its_run_was_cancelled_while_it_waited() {
    let (site, service) = (site(60).await, Service::start().await);
    let client = service.administration();
    let (first, second) = (
        client.register(&site, &json!({"space_key": "ENG"})).await,
        client.register(&site, &json!({})).await,
    );
    site.set_latency(Duration::from_millis(500));
    // Both are of one account, so one waits for the other.
    let service = service
        .restart(|bench| {
            make_due(bench, &first);
            make_due(bench, &second);
        })
        .await;
    let client = service.administration();
    let mut waiting = None;
    for id in [&first, &second] {
        let path = format!("/api/v1/sources/{id}");
        let source = client.until(&path, |source| source["last_run"]["state"].is_string()).await;
        if source["last_run"]["state"] == "queued" {
            waiting = Some((path, source["last_run"]["id"].as_str().unwrap().to_owned()));
        }
    }
    let (path, run) = waiting.expect("one waits");
    client.post(&format!("{path}/runs/{run}/cancel"), &Value::Null).await.expect(202);
    client.until(&path, |source| time(&source["next_run_at"]) > Utc::now()).await;
}

#[tokio::test]
async fn a_source_without_a_token_has_no_runs_and_no_schedule() {
    let site = site(12).await;
    let bench = Arc::new(Bench::new());
    let file = bench.source(&json!({"base_url": site.base_url()}));
    let synced = Arc::clone(&bench);
    let output = tokio::task::spawn_blocking(move || {
        synced.kai(&["sync", "--source", &file, "--allow-local", "--quiet"])
    });
    assert!(output.await.unwrap().status.success());
    let service = Service::start_with(bench, &["--allow-local", "--log", "info"]).await;
    let client = service.administration();
    let [source] = sources(&client).await.try_into().unwrap();
    assert_eq!((&source["token_kept"], &source["documents"]), (&json!(false), &json!(12)));
    let path = format!("/api/v1/sources/{}", source["id"].as_str().unwrap());
    client.post(&format!("{path}/runs"), &json!({})).await.problem(409, "conflict");
    let schedule = json!({"schedule": {"run_every_seconds": 60}});
    client.patch(&path, &schedule).await.problem(409, "conflict");
    client.patch(&path, &json!({"api_token": Site::TOKEN})).await.problem(409, "conflict");
    assert_eq!(client.get(&path).await.expect(200)["schedule"], Value::Null);
    // Registered now, it has its documents already.
    let id = client.register(&site, &json!({})).await;
    assert_eq!(json!(id), source["id"]);
    client.patch(&path, &schedule).await.expect(200);
}

#[tokio::test]
async fn a_source_goes_with_its_documents_also_while_it_is_synced() {
    let site = Site::builder().spaces(3).pages(300).page_bytes(300).start().await.unwrap();
    site.with_state(|state| state.quirks.page_cap = 10);
    let service = Service::start().await;
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    site.set_latency(Duration::from_millis(100));
    let path = format!("/api/v1/sources/{id}");
    let run = client.begin(&id, "full").await;
    client.until("/api/v1/documents/count", |count| count["count"].as_u64() > Some(0)).await;
    let waiting = client.begin(&id, "delta").await;
    let events = client.events(&format!("{path}/runs/{run}/events"), None).await;
    assert_eq!(client.delete(&path).await.expect(204), Value::Null);
    // Nothing of it is left, and nobody asks the site any more.
    let asked = site.statistics().requests;
    for path in [
        path.clone(),
        format!("{path}/runs"),
        format!("{path}/runs/{waiting}"),
        format!("{path}/documents/1"),
    ] {
        client.get(&path).await.problem(404, "not-found");
    }
    assert_eq!(client.count("").await, 0);
    assert!(sources(&client).await.is_empty());
    let end = events.rest().await.pop().unwrap();
    assert_eq!((end.name.as_str(), &end.data["state"]), ("end", &json!("cancelled")));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(site.statistics().requests, asked);
    client.delete(&path).await.problem(404, "not-found");
    // It can be registered again, and has all of the site then.
    site.set_latency(Duration::ZERO);
    let id = client.register(&site, &json!({})).await;
    client.sync(&id, "full").await;
    assert_eq!(client.count("").await, 300);
}

/// A tenant that was removed while Confluence was asked used to be left with a source that nobody could reach.
#[tokio::test]
async fn no_source_is_kept_for_a_tenant_that_is_gone_by_then() {
    let (site, service) = (site(3).await, Service::start().await);
    let (client, tenant) = (service.administration(), service.tenant("acme").await);
    site.set_latency(Duration::from_millis(1_000));
    let body = document(&site, &json!({}));
    let registered = tokio::spawn(async move { tenant.post("/api/v1/sources", &body).await });
    while site.statistics().requests == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.delete("/api/v1/tenants/acme").await.expect(204);
    registered.await.unwrap().problem(404, "not-found");
    assert!(sources(&client).await.is_empty());
}
