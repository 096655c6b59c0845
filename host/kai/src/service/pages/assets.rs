//! Style, script and icon: in the binary, kept by browsers until their content is another.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

/// A file of the pages.
pub(super) struct Asset {
    path: &'static str,
    kind: &'static str,
    content: &'static str,
    /// Of the content; in the address, so that another content has another address.
    version: String,
}

impl Asset {
    fn new(path: &'static str, kind: &'static str, content: &'static str) -> Self {
        let digest = Sha256::digest(content);
        let version = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { path, kind, content, version }
    }

    /// What pages refer to it by.
    pub(super) fn address(&self) -> String {
        format!("{}?v={}", self.path, self.version)
    }

    fn answer(&self, uri: &Uri, headers: &HeaderMap) -> Response {
        let etag = format!("\"{}\"", self.version);
        let named = uri.query().is_some_and(|query| query == format!("v={}", self.version));
        let kept = if named { "public, max-age=31536000, immutable" } else { "no-cache" };
        let about = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, kept.to_owned())];
        let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        if known.is_some_and(|known| known.contains(&etag)) {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        (about, [(header::CONTENT_TYPE, self.kind)], self.content).into_response()
    }
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("/static/style.css", "text/css; charset=utf-8", include_str!("../assets/style.css"))
});

pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("/static/app.js", "text/javascript; charset=utf-8", include_str!("../assets/app.js"))
});

pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("/static/icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")));

pub(super) fn router() -> Router {
    let mut router = Router::new();
    for asset in [&STYLE, &SCRIPT, &ICON] {
        router = router
            .route(asset.path, get(async move |uri: Uri, headers: HeaderMap| asset.answer(&uri, &headers)));
    }
    router
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_and_script_stay_small() {
        assert!(STYLE.content.len() + SCRIPT.content.len() < 20_000);
    }

    #[test]
    fn only_the_address_of_this_content_is_kept_for_long() {
        let kept = |uri: &str| {
            let answer = STYLE.answer(&uri.parse().unwrap(), &HeaderMap::new());
            answer.headers().get(header::CACHE_CONTROL).unwrap().to_str().unwrap().to_owned()
        };
        assert!(kept(&STYLE.address()).contains("immutable"));
        assert_eq!(kept("/static/style.css"), "no-cache");
        assert_eq!(kept("/static/style.css?v=older"), "no-cache");
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, format!("\"{}\"", STYLE.version).parse().unwrap());
        assert_eq!(STYLE.answer(&Uri::from_static("/"), &headers).status(), StatusCode::NOT_MODIFIED);
    }
}
