//! What all tests of the site need: a site, a client, and a walk along a listing.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use confluence_site::Site;
use serde_json::Value;

pub(crate) fn authorization(email: &str, token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{email}:{token}")))
}

pub(crate) fn client() -> reqwest::Client {
    // reqwest is built without a TLS provider and asks for one even for plain http. Only the first call sets it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// GET with the accepted credential, once for one site.
pub(crate) async fn send(site: &Site, path: &str) -> reqwest::Result<reqwest::Response> {
    client()
        .get(format!("{}{path}", site.base_url()))
        .header("authorization", authorization(Site::EMAIL, Site::TOKEN))
        .send()
        .await
}

/// Status and JSON body.
pub(crate) async fn get(site: &Site, path: &str) -> (u16, Value) {
    let response = send(site, path).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
}

/// All rows of a listing, by following `next` as it stands.
pub(crate) async fn walk(site: &Site, path: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let (status, page) = get(site, &path).await;
        assert_eq!(status, 200, "{path}: {page}");
        rows.extend(page["results"].as_array().unwrap().iter().cloned());
        assert!(rows.len() < 100_000, "endless listing");
        next = page["_links"].get("next").map(|next| next.as_str().unwrap().to_owned());
    }
    rows
}

pub(crate) fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn space_id(site: &Site, key: &str) -> String {
    site.with_state(|state| state.spaces().into_iter().find(|space| space.key == key).unwrap().id)
}
