//! Where a source's requests may go: GET, to one origin, below one path.

use std::net::IpAddr;

use url::{Host, Url};

use crate::address::is_public;
use crate::error::SourceError;

/// Below this path lies everything that a Confluence connector reads.
const API_PATH: &str = "/wiki/api/v2/";

/// Where scoped API tokens work.
const GATEWAY: &str = "https://api.atlassian.com";

/// Which hosts an operator allows: `acme.atlassian.net`, or `*.atlassian.net` for every name below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPattern(String);

impl HostPattern {
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.trim().to_ascii_lowercase())
    }

    fn matches(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match self.0.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') => host.len() > suffix.len() && host.ends_with(suffix),
            _ => host == self.0,
        }
    }
}

/// What one source may reach. Decided from the registration, never from what a guest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Egress {
    /// Scheme, host and port, as [`Url`] writes them: capitals and default ports are gone.
    origin: String,
    /// The host's name in the form in which the resolver sees it.
    host: String,
    path_prefix: String,
    allow_local: bool,
}

/// Why a request was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    #[error("the method {0} is not GET")]
    Method(String),
    #[error("{0} is not the source's own origin")]
    Origin(String),
    #[error("the path is not below {0}")]
    Path(String),
    #[error("the address {0} is private or local")]
    Address(IpAddr),
}

impl Egress {
    /// Reads the one origin from the registration.
    ///
    /// # Errors
    /// A `base_url` that is no URL, plain http or a private address, unless `allow_local`.
    pub(crate) fn new(
        base_url: &str,
        cloud_id: Option<&str>,
        allow_local: bool,
    ) -> Result<Self, SourceError> {
        let base = Url::parse(base_url.trim()).map_err(|error| SourceError::BaseUrl(error.to_string()))?;
        let Some(host) = base.host() else {
            return Err(SourceError::BaseUrl("it names no host".to_owned()));
        };
        match base.scheme() {
            "https" => {}
            "http" if allow_local => {}
            "http" => return Err(SourceError::PlainHttp),
            scheme => {
                return Err(SourceError::BaseUrl(format!("the scheme {scheme} is not https")));
            }
        }
        let literal = match host {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            Host::Domain(_) => None,
        };
        if let Some(address) = literal
            && !allow_local
            && !is_public(address)
        {
            return Err(SourceError::LocalAddress(address));
        }
        Ok(match cloud_id {
            None => Self {
                origin: base.origin().ascii_serialization(),
                host: host.to_string(),
                path_prefix: API_PATH.to_owned(),
                allow_local,
            },
            Some(cloud_id) => Self {
                origin: GATEWAY.to_owned(),
                host: GATEWAY.trim_start_matches("https://").to_owned(),
                path_prefix: format!("/ex/confluence/{cloud_id}{API_PATH}"),
                allow_local: false,
            },
        })
    }

    /// Whether an operator who allows only these hosts (none: all) allows this one.
    ///
    /// # Errors
    /// [`SourceError::HostNotAllowed`].
    pub(crate) fn check_policy(&self, allowed: &[HostPattern]) -> Result<(), SourceError> {
        if allowed.is_empty() || allowed.iter().any(|pattern| pattern.matches(&self.host)) {
            Ok(())
        } else {
            Err(SourceError::HostNotAllowed(self.host.clone()))
        }
    }

    /// What all sessions to one site have in common: the key of its gate.
    pub(crate) fn site(&self) -> String {
        format!("{}{}", self.origin, self.path_prefix)
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether `name`, as the resolver was asked for it, may lead to private addresses. Only this source's own host
    /// is judged: the only other names that a client looks up are those of the operator's proxies.
    pub(crate) fn allows_address(&self, name: &str, address: IpAddr) -> bool {
        self.allow_local || !name.eq_ignore_ascii_case(&self.host) || is_public(address)
    }

    /// Judges a guest's request.
    ///
    /// # Errors
    /// The first rule that the request breaks.
    pub(crate) fn check(&self, method: &http::Method, uri: &http::Uri) -> Result<Url, Denial> {
        if method != http::Method::GET {
            return Err(Denial::Method(method.to_string()));
        }
        // `http::Uri` keeps what `Url` would silently repair, so that is refused before it is parsed.
        let path = uri.path();
        let lower = path.to_ascii_lowercase();
        let climbs = path.split('/').any(|segment| matches!(segment, "." | ".."))
            || lower.contains("%2e")
            || lower.contains("%2f")
            || lower.contains("%5c")
            || path.contains('\\');
        let url = Url::parse(&uri.to_string()).map_err(|_| Denial::Origin("an unreadable URL".to_owned()))?;
        let origin = url.origin().ascii_serialization();
        if origin != self.origin || !url.username().is_empty() || url.password().is_some() {
            return Err(Denial::Origin(origin));
        }
        let below = self.path_prefix.trim_end_matches('/');
        let inside =
            url.path().strip_prefix(below).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1);
        if climbs || !inside {
            return Err(Denial::Path(self.path_prefix.clone()));
        }
        if let Some(Host::Ipv4(address)) = url.host()
            && !self.allow_local
            && !is_public(IpAddr::V4(address))
        {
            return Err(Denial::Address(IpAddr::V4(address)));
        }
        if let Some(Host::Ipv6(address)) = url.host()
            && !self.allow_local
            && !is_public(IpAddr::V6(address))
        {
            return Err(Denial::Address(IpAddr::V6(address)));
        }
        Ok(url)
    }

    /// Judges where an answer to `from` sends the request on to, by the same rules.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(crate) fn check_redirect(&self, from: &Url, location: &str) -> Result<Url, Denial> {
        let unreadable = || Denial::Origin("an unreadable URL".to_owned());
        let to = from.join(location).map_err(|_| unreadable())?;
        let uri = to.as_str().parse().map_err(|_| unreadable())?;
        self.check(&http::Method::GET, &uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(egress: &Egress, uri: &str) -> Result<Url, Denial> {
        egress.check(&http::Method::GET, &uri.parse().unwrap())
    }

    #[test]
    fn only_the_sources_own_origin_below_the_api_path_is_reached() {
        let egress = Egress::new("https://Acme.atlassian.net:443/", None, false).unwrap();
        assert!(check(&egress, "https://acme.atlassian.net/wiki/api/v2/spaces?limit=1").is_ok());
        for other in [
            "http://acme.atlassian.net/wiki/api/v2/spaces",
            "https://acme.atlassian.net:8443/wiki/api/v2/spaces",
            "https://acme.atlassian.net.evil.example/wiki/api/v2/spaces",
            "https://evil.example/wiki/api/v2/spaces",
            "https://api.atlassian.com/wiki/api/v2/spaces",
        ] {
            assert!(matches!(check(&egress, other), Err(Denial::Origin(_))), "{other}");
        }
        for path in [
            "/",
            "/wiki/api/v2/",
            "/wiki/api/v2",
            "/wiki/api/v20/spaces",
            "/wiki/rest/api/user/current",
            "/wiki/api/v2/../../rest/api/content",
            "/wiki/api/v2/%2e%2e/x",
            "/wiki/api/v2/%2E./x",
            "/wiki/api/v2/..%2fx",
            "/wiki/api/v2/%5C..%5Cx",
        ] {
            let uri = format!("https://acme.atlassian.net{path}");
            assert!(matches!(check(&egress, &uri), Err(Denial::Path(_))), "{path}");
        }
        let post = egress
            .check(&http::Method::POST, &"https://acme.atlassian.net/wiki/api/v2/pages".parse().unwrap());
        assert_eq!(post, Err(Denial::Method("POST".to_owned())));
    }

    #[test]
    fn a_redirect_is_judged_like_a_request() {
        let egress = Egress::new("https://acme.atlassian.net", None, false).unwrap();
        let from = check(&egress, "https://acme.atlassian.net/wiki/api/v2/spaces").unwrap();
        let redirect = |location: &str| egress.check_redirect(&from, location);
        for location in ["pages/7", "/wiki/api/v2/pages", "https://ACME.atlassian.net:443/wiki/api/v2/x?y=z"]
        {
            assert!(redirect(location).is_ok(), "{location}");
        }
        for location in
            ["//evil.example/wiki/api/v2/x", "http://acme.atlassian.net/wiki/api/v2/x", "https://a@b:c"]
        {
            assert!(matches!(redirect(location), Err(Denial::Origin(_))), "{location}");
        }
        for location in ["/login", "../../rest/api/user", "%2e%2e/%2e%2e/x", "/wiki/api/v2/..%2f..%2fx"] {
            assert!(matches!(redirect(location), Err(Denial::Path(_))), "{location}");
        }
    }

    #[test]
    fn a_cloud_id_moves_the_one_origin_to_the_gateway() {
        let egress = Egress::new("https://acme.atlassian.net", Some("1a-2b"), false).unwrap();
        assert!(check(&egress, "https://api.atlassian.com/ex/confluence/1a-2b/wiki/api/v2/spaces").is_ok());
        assert!(check(&egress, "https://acme.atlassian.net/wiki/api/v2/spaces").is_err());
        assert!(check(&egress, "https://api.atlassian.com/ex/confluence/other/wiki/api/v2/spaces").is_err());
    }

    #[test]
    fn local_sites_need_permission() {
        assert_eq!(Egress::new("http://acme.example", None, false), Err(SourceError::PlainHttp));
        for literal in
            ["https://127.0.0.1", "https://[::ffff:10.0.0.1]", "https://0x7f.1", "https://2130706433"]
        {
            let refused = Egress::new(literal, None, false);
            assert!(matches!(refused, Err(SourceError::LocalAddress(_))), "{literal}: {refused:?}");
        }
        assert!(Egress::new("http://127.0.0.1:8080", None, true).is_ok());
    }

    #[test]
    fn an_operator_narrows_the_hosts() {
        let check = |base_url: &str, cloud_id: Option<&str>, patterns: &[&str]| {
            let patterns: Vec<HostPattern> =
                patterns.iter().map(|pattern| HostPattern::new(pattern)).collect();
            Egress::new(base_url, cloud_id, false).unwrap().check_policy(&patterns).is_ok()
        };
        assert!(check("https://acme.example", None, &[]));
        assert!(check("https://Acme.Atlassian.net", None, &["*.atlassian.net"]));
        assert!(check("https://acme.example", None, &["*.atlassian.net", "ACME.example"]));
        assert!(!check("https://acme.example", None, &["*.atlassian.net"]));
        assert!(!check("https://evilatlassian.net", None, &["*.atlassian.net"]));
        assert!(!check("https://atlassian.net", None, &["*.atlassian.net"]));
        assert!(!check("https://acme.atlassian.net.evil.example", None, &["*.atlassian.net"]));
        assert!(!check("https://acme.example", None, &["*"]));
        // A scoped token goes to the gateway, so that is what has to be allowed.
        assert!(!check("https://acme.atlassian.net", Some("1a"), &["acme.atlassian.net"]));
        assert!(check("https://acme.atlassian.net", Some("1a"), &["api.atlassian.com"]));
    }

    #[test]
    fn a_name_that_leads_home_is_refused_after_dns() {
        let egress = Egress::new("https://acme.example", None, false).unwrap();
        assert!(!egress.allows_address("ACME.example", "127.0.0.1".parse().unwrap()));
        assert!(egress.allows_address("acme.example", "1.1.1.1".parse().unwrap()));
        assert!(egress.allows_address("proxy.corp", "10.0.0.1".parse().unwrap()));
    }
}
