//! A registered source: which fields are good, where its API is, and how it signs requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::Error;

/// The only kind of source that this connector reads.
pub const KIND: &str = "CONFLUENCE";

/// JSON Schema (draft 2020-12) of the registration document.
pub const SCHEMA: &str = include_str!("source.schema.json");

/// Origin of the gateway that scoped API tokens go through (facts D2).
const GATEWAY: &str = "https://api.atlassian.com";

/// A registered source as it arrives: nothing checked yet. No `Debug`, because it holds the token.
#[derive(Clone, Default)]
pub struct Source {
    /// Must be [`KIND`].
    pub kind: String,
    /// Workspace root.
    pub base_url: String,
    /// Account of the token.
    pub email: String,
    /// API token, or the host's stand-in for it.
    pub api_token: String,
    /// The one space to read.
    pub space_key: Option<String>,
    /// Set for scoped tokens.
    pub cloud_id: Option<String>,
}

/// A source whose fields are good: where to ask, and what to sign with.
pub struct Site {
    base_url: String,
    api_root: String,
    authorization: String,
}

impl Site {
    /// Checks every field of a source, except that its space exists.
    ///
    /// # Errors
    /// [`Error::InvalidSource`], naming the field and what to write instead.
    pub fn new(source: &Source) -> Result<Self, Error> {
        if source.kind != KIND {
            return Err(invalid("kind", &source.kind, "write \"CONFLUENCE\""));
        }
        let base_url = workspace_root(&source.base_url)?;
        if source.email.trim().is_empty() {
            return Err(invalid(
                "email",
                "",
                "write the e-mail address of the account that the token belongs to",
            ));
        }
        if source.email.contains(':') {
            return Err(invalid("email", &source.email, "an e-mail address without a colon is needed"));
        }
        if source.api_token.trim().is_empty() {
            return Err(invalid(
                "api_token",
                "",
                "create an API token in the Atlassian account settings and write it here",
            ));
        }
        let api_root = match source.cloud_id.as_deref() {
            None => base_url.clone(),
            Some(id) if is_cloud_id(id) => format!("{GATEWAY}/ex/confluence/{id}"),
            Some(id) => {
                return Err(invalid(
                    "cloud_id",
                    id,
                    "write the id that {base_url}/_edge/tenant_info shows, or leave it out",
                ));
            }
        };
        let authorization =
            format!("Basic {}", STANDARD.encode(format!("{}:{}", source.email, source.api_token)));
        Ok(Self { base_url, api_root, authorization })
    }

    /// Workspace root without a trailing slash: what links and images are built on.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// What `/wiki/api/v2/...` is appended to: the workspace root, or the gateway with the cloud id.
    #[must_use]
    pub fn api_root(&self) -> &str {
        &self.api_root
    }

    /// Scheme, host and port of [`Site::api_root`].
    #[must_use]
    pub fn origin(&self) -> &str {
        let host = self.api_root.find("://").map_or(0, |at| at + 3);
        let end = self
            .api_root
            .get(host..)
            .and_then(|rest| rest.find('/'))
            .map_or(self.api_root.len(), |at| host + at);
        self.api_root.get(..end).unwrap_or(&self.api_root)
    }

    /// Value of the `Authorization` header.
    #[must_use]
    pub fn authorization(&self) -> &str {
        &self.authorization
    }
}

/// The space that a sync is narrowed to: `scope_path` where given, else the source's own `space_key`.
///
/// # Errors
/// [`Error::InvalidSource`] for a scope that is no space key.
pub fn pinned_space<'a>(source: &'a Source, scope_path: Option<&'a str>) -> Result<Option<&'a str>, Error> {
    let (field, written) = match (scope_path, source.space_key.as_deref()) {
        (Some(path), _) => ("scope_path", path),
        (None, Some(key)) => ("space_key", key),
        (None, None) => return Ok(None),
    };
    let path = written.trim().trim_start_matches('/').trim_end_matches('/');
    let key = path.strip_prefix("spaces/").unwrap_or(path);
    let good =
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '~' | '_' | '-' | '.'));
    if good {
        Ok(Some(key))
    } else {
        Err(invalid(field, written, "write a space key such as ENG, or leave it out"))
    }
}

fn workspace_root(written: &str) -> Result<String, Error> {
    let refuse = |remedy: &str| Err(invalid("base_url", &without_user_information(written), remedy));
    let root = written.trim();
    if root.is_empty() {
        return refuse("write the workspace root, such as https://your-org.atlassian.net");
    }
    let lower = root.get(..8).unwrap_or(root).to_ascii_lowercase();
    let (scheme, rest) = if lower.starts_with("https://") {
        ("https", root.get(8..).unwrap_or_default())
    } else if lower.starts_with("http://") {
        ("http", root.get(7..).unwrap_or_default())
    } else {
        return refuse("it must begin with https://");
    };
    let (authority, path) = match rest.find(['/', '?', '#', '\\']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return refuse("remove the user information; the account goes into email and api_token");
    }
    if path.contains(['?', '#']) {
        return refuse("remove the query and the fragment");
    }
    if !is_authority(authority) {
        return refuse("it holds no valid host name (write an international name in its xn-- form)");
    }
    let path = path.trim_end_matches('/');
    if path == "/wiki" || path.starts_with("/wiki/") {
        return refuse(&format!("remove {path}: write {scheme}://{authority}"));
    }
    if !path.is_empty() {
        return refuse(&format!(
            "remove {path}: write {scheme}://{authority} (Confluence Server and Data Center have no REST v2 and are not supported)"
        ));
    }
    Ok(format!("{scheme}://{}", authority.to_ascii_lowercase()))
}

fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let good_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    let good_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    good_port && good_host
}

fn is_cloud_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A URL that is shown to people must not show a password that somebody put into it.
fn without_user_information(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            format!("{}...{}", url.get(..scheme + 3).unwrap_or_default(), url.get(at..).unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

fn invalid(field: &str, written: &str, remedy: &str) -> Error {
    let what = if written.is_empty() { "is empty".to_owned() } else { format!("cannot be {written:?}") };
    Error::InvalidSource(format!("{field} {what}: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            kind: KIND.to_owned(),
            base_url: "https://acme.atlassian.net".to_owned(),
            email: "ada@example.com".to_owned(),
            api_token: "token".to_owned(),
            ..Source::default()
        }
    }

    fn site(base_url: &str) -> Result<Site, Error> {
        Site::new(&Source { base_url: base_url.to_owned(), ..source() })
    }

    #[test]
    fn a_trailing_slash_and_capitals_in_the_host_are_accepted() {
        for written in
            ["https://acme.atlassian.net", "https://acme.atlassian.net/", " HTTPS://ACME.atlassian.net// "]
        {
            assert_eq!(site(written).unwrap().base_url(), "https://acme.atlassian.net", "{written}");
        }
        assert_eq!(site("http://127.0.0.1:8080").unwrap().origin(), "http://127.0.0.1:8080");
        assert_eq!(site("http://[::1]:8080/").unwrap().origin(), "http://[::1]:8080");
    }

    #[test]
    fn everything_but_a_workspace_root_is_refused_with_a_remedy() {
        for (written, remedy) in [
            ("", "write the workspace root"),
            ("acme.atlassian.net", "https://"),
            ("ftp://acme.atlassian.net", "https://"),
            ("https://acme.atlassian.net/wiki", "write https://acme.atlassian.net"),
            ("https://acme.atlassian.net/wiki/api/v2", "remove /wiki/api/v2"),
            ("https://acme.atlassian.net/confluence", "Data Center"),
            ("https://acme.atlassian.net?x=1", "query"),
            ("https://acme.atlassian.net/#top", "fragment"),
            ("https://ada:secret@acme.atlassian.net", "user information"),
            ("https://", "host name"),
            ("https://acme.atlassian.net:0", "host name"),
            ("https://bücher.example", "xn--"),
            ("https://acme.atlassian.net\\@evil.example", "user information"),
        ] {
            let Err(Error::InvalidSource(text)) = site(written) else { panic!("{written:?} was accepted") };
            assert!(
                text.starts_with("base_url") && (text.contains(remedy) || written.contains('\\')),
                "{written:?}: {text}"
            );
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_bad_field_is_named() {
        for (bad, field) in [
            (Source { kind: "JIRA".into(), ..source() }, "kind"),
            (Source { email: " ".into(), ..source() }, "email"),
            (Source { email: "a:b".into(), ..source() }, "email"),
            (Source { api_token: String::new(), ..source() }, "api_token"),
            (Source { cloud_id: Some("../x".into()), ..source() }, "cloud_id"),
        ] {
            let Err(Error::InvalidSource(text)) = Site::new(&bad) else {
                panic!("a bad {field} was accepted")
            };
            assert!(text.starts_with(field), "{text}");
        }
    }

    #[test]
    fn a_cloud_id_moves_requests_to_the_gateway_and_leaves_links_alone() {
        let site = Site::new(&Source { cloud_id: Some("1a2b-3c".into()), ..source() }).unwrap();
        assert_eq!(site.api_root(), "https://api.atlassian.com/ex/confluence/1a2b-3c");
        assert_eq!(site.origin(), "https://api.atlassian.com");
        assert_eq!(site.base_url(), "https://acme.atlassian.net");
    }

    #[test]
    fn the_credential_is_basic_over_utf8() {
        let site =
            Site::new(&Source {
                email: "jürgen@example.com".into(), api_token: "тoken".into(), ..source()
            })
            .unwrap();
        let encoded = site.authorization().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), "jürgen@example.com:тoken".as_bytes());
    }

    #[test]
    fn a_scope_path_overrides_the_space_key() {
        let source = Source { space_key: Some("ENG".into()), ..source() };
        assert_eq!(pinned_space(&source, None), Ok(Some("ENG")));
        for written in ["OPS", "/OPS", "spaces/OPS", "/spaces/OPS/"] {
            assert_eq!(pinned_space(&source, Some(written)), Ok(Some("OPS")), "{written}");
        }
        assert_eq!(pinned_space(&source, Some("~712020abc")), Ok(Some("~712020abc")));
        for written in ["", "/", "OPS/pages/1", "a b", "x&limit=1"] {
            assert!(
                matches!(pinned_space(&source, Some(written)), Err(Error::InvalidSource(_))),
                "{written}"
            );
        }
    }

    #[test]
    fn the_schema_of_the_registration_document_is_json() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        assert_eq!(schema["properties"]["kind"]["const"], KIND);
    }
}
