//! Answers have the form that Atlassian's own description gives them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are test code too, which clippy does not see"
)]

mod common;

use common::{get, send, space_id, walk};
use confluence_site::{PageStatus, Site};
use serde_json::{Value, json};

const SPECIFICATION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/openapi-confluence-v2-subset.json");

/// OpenAPI 3.0 says `nullable`, JSON Schema says it in `type` and `enum`. Some fields are null by their description
/// only ("... or null if there is no parent").
fn translate(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(translate);
            let text = fields.get("description").and_then(Value::as_str).unwrap_or_default();
            let described = text.contains("or null");
            if fields.remove("nullable") == Some(json!(true)) || described {
                if let Some(kind) = fields.get_mut("type").filter(|kind| kind.is_string()) {
                    *kind = json!([kind.clone(), "null"]);
                }
                if let Some(values) = fields.get_mut("enum").and_then(Value::as_array_mut) {
                    values.push(Value::Null);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(translate),
        _ => {}
    }
}

fn validator(specification: &Value, path: &str) -> jsonschema::Validator {
    let mut schema =
        specification["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            .clone();
    assert!(schema.is_object(), "no schema for {path}");
    // References start at the root of the document.
    schema["components"] = specification["components"].clone();
    // A missing field is no violation in this description, so what we promise is required here.
    schema["required"] =
        if path == "/pages/{id}" { json!(["id", "body", "_links"]) } else { json!(["results", "_links"]) };
    translate(&mut schema);
    // The description and the icon of a space are null unless they are asked for; the text does not say so.
    for name in ["SpaceDescription", "SpaceIcon"] {
        schema["components"]["schemas"][name]["type"] = json!(["object", "null"]);
    }
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn check(validator: &jsonschema::Validator, what: &str, answer: &Value) {
    let errors: Vec<String> =
        validator.iter_errors(answer).map(|error| format!("{}: {error}", error.instance_path)).collect();
    assert!(errors.is_empty(), "{what}: {errors:#?}");
}

#[tokio::test]
async fn answers_conform_to_the_description() {
    let Ok(text) = std::fs::read(SPECIFICATION) else {
        println!("skipped: {SPECIFICATION} is not there");
        return;
    };
    let specification: Value = serde_json::from_slice(&text).unwrap();
    let site = Site::builder().pages(200).spaces(5).start().await.unwrap();
    let eng = space_id(&site, "ENG");

    let spaces = validator(&specification, "/spaces");
    check(&spaces, "spaces", &get(&site, "/wiki/api/v2/spaces?limit=2").await.1);
    check(&spaces, "all spaces", &get(&site, "/wiki/api/v2/spaces").await.1);

    let pages = validator(&specification, "/spaces/{id}/pages");
    for query in ["", "?body-format=storage&limit=250", "?body-format=atlas_doc_format", "?status=trashed"] {
        check(&pages, query, &get(&site, &format!("/wiki/api/v2/spaces/{eng}/pages{query}")).await.1);
    }
    // That the validator can fail at all.
    assert!(!pages.is_valid(&json!({ "results": [{ "id": 7 }], "_links": {} })));
    assert!(!pages.is_valid(&json!({ "results": [{ "createdAt": "yesterday" }], "_links": {} })));

    let page = validator(&specification, "/pages/{id}");
    for id in site.with_state(|state| state.page_ids()) {
        let status = site.with_state(|state| state.page(&id).unwrap().status);
        let (code, answer) = get(&site, &format!("/wiki/api/v2/pages/{id}?body-format=storage")).await;
        if status == PageStatus::Draft {
            assert_eq!(code, 404);
        } else {
            assert_eq!(code, 200);
            check(&page, &id, &answer);
        }
    }
}

#[tokio::test]
async fn fields_beside_the_description_are_there() {
    let site = Site::builder().start().await.unwrap();
    let id = site.with_state(|state| state.create_page("ENG", "A b\u{e9} c&d", Some("<p>x</p>"))).unwrap();
    let (_, page) = get(&site, &format!("/wiki/api/v2/pages/{id}?body-format=storage")).await;
    assert_eq!(page["_links"]["webui"], format!("/spaces/ENG/pages/{id}/A+c%26d"));
    assert_eq!(page["_links"]["base"], format!("{}/wiki", site.base_url()));
    assert_eq!(page["body"]["storage"], json!({ "representation": "storage", "value": "<p>x</p>" }));
    assert_eq!(page["version"]["number"], 1);
    assert!(page["version"].get("ncsStepVersion").is_some());
    let (_, page) = get(&site, &format!("/wiki/api/v2/pages/{id}")).await;
    assert_eq!(page["body"], json!({}));

    let foreign = site.with_state(|state| state.create_page("ENG", "\u{c124}\u{c815}", Some(""))).unwrap();
    let (_, page) = get(&site, &format!("/wiki/api/v2/pages/{foreign}")).await;
    assert_eq!(page["_links"]["webui"], format!("/spaces/ENG/pages/{foreign}"));

    // The first page of a seeded space is its homepage, which has another address.
    let eng = space_id(&site, "ENG");
    let rows = walk(&site, &format!("/wiki/api/v2/spaces/{eng}/pages")).await;
    assert_eq!(rows[0]["_links"]["webui"], "/spaces/ENG/overview");
    assert!(rows.iter().all(|row| row["_links"].get("base").is_none()));
}

#[tokio::test]
async fn headers_name_the_next_page_too() {
    let site = Site::builder().start().await.unwrap();
    let response = send(&site, "/wiki/api/v2/spaces?limit=1").await.unwrap();
    let link = response.headers()["link"].to_str().unwrap().to_owned();
    assert!(link.starts_with("</wiki/api/v2/spaces?limit=1&cursor="), "{link}");
    assert!(link.ends_with(&format!("<{}/wiki>; rel=\"base\"", site.base_url())), "{link}");
    assert!(response.headers().contains_key("atl-request-id"));
    assert!(response.headers().contains_key("date"));
}
