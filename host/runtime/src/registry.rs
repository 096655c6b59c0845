//! Pulling a component from an OCI registry: the part of the distribution specification that reads one manifest and one
//! blob by digest. No registry is trusted with more than its availability, because what it sends is checked against the
//! digests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, LOCATION, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::{Host, Url};

use crate::client::{Answer, Client, Fault};
use crate::digest::sha256_hex;
use crate::error::{LoadError, RegistryError};
use crate::reference::{RegistryReference, is_sha256};

/// The index is asked for too, only to be told from something that is not there.
const MANIFEST_TYPES: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// The media type of a component, as `wkg` pushes it.
const WASM: &str = "application/wasm";

/// What the distribution specification wants registries to accept at least.
const LARGEST_MANIFEST: u64 = 4 << 20;

/// Tokens, and what a registry says of an error.
const LARGEST_ANSWER: u64 = 1 << 20;

/// From a registry to where it keeps its blobs it is one.
const REDIRECTS: usize = 5;

/// What a registry asks for before it lets somebody pull. `Debug` shows no secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RegistryCredential {
    /// An account, as `docker login` takes it. Sent when the registry asks for it, to the registry or to the token
    /// service that it names.
    Basic {
        /// Name of the account.
        username: String,
        /// Its password, or a token in the place of one.
        password: SecretString,
    },
    /// A bearer token that the registry takes as it is. Sent with each request to the registry, nowhere else.
    Token(SecretString),
}

/// One pull.
pub(crate) struct Pull<'a> {
    pub(crate) client: Client,
    pub(crate) reference: &'a RegistryReference,
    pub(crate) credential: Option<&'a RegistryCredential>,
    /// Whether registries on this machine are spoken to over plain http.
    pub(crate) allow_local: bool,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
struct Granted {
    token: Option<SecretText>,
    access_token: Option<SecretText>,
}

/// A text that is a secret from the moment it is read.
#[derive(Deserialize)]
#[serde(from = "String")]
struct SecretText(SecretString);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// The two things that a registry holds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Manifest,
    Layer,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Layer => "layer",
        }
    }

    /// Its place in the registry's API.
    fn path(self) -> &'static str {
        match self {
            Self::Manifest => "manifests",
            Self::Layer => "blobs",
        }
    }

    fn accepts(self) -> &'static str {
        match self {
            Self::Manifest => MANIFEST_TYPES,
            Self::Layer => "*/*",
        }
    }
}

impl Pull<'_> {
    /// The component's bytes, checked against the reference's digest; `largest` of them at most.
    pub(crate) async fn component(&self, largest: u64) -> Result<Bytes, LoadError> {
        let mut authorization = match self.credential {
            Some(RegistryCredential::Token(token)) => Some(self.bearer(token)?),
            _ => None,
        };
        let manifest =
            self.get(Kind::Manifest, self.reference.digest(), LARGEST_MANIFEST, &mut authorization).await?;
        let layer = self.layer(&manifest)?;
        if layer.size > largest {
            return Err(LoadError::TooLarge { size: layer.size, limit: largest });
        }
        Ok(self.get(Kind::Layer, &layer.digest, layer.size, &mut authorization).await?)
    }

    /// The one layer that is a component.
    fn layer(&self, manifest: &[u8]) -> Result<Layer, RegistryError> {
        let not_one = |found| RegistryError::Layers { reference: self.reference.to_string(), found };
        let Ok(Manifest { mut layers }) = serde_json::from_slice(manifest) else {
            return Err(not_one(Vec::new()));
        };
        let found = layers.iter().map(|layer| layer.media_type.clone()).collect();
        layers.retain(|layer| layer.media_type == WASM);
        match (layers.pop(), layers.is_empty()) {
            (Some(layer), true) if is_sha256(&layer.digest) => Ok(layer),
            _ => Err(not_one(found)),
        }
    }

    /// Reads what has this digest and checks that it has. `authorization` is what the registry accepted last.
    async fn get(
        &self,
        kind: Kind,
        digest: &str,
        largest: u64,
        authorization: &mut Option<HeaderValue>,
    ) -> Result<Bytes, RegistryError> {
        let url = self.url(kind, digest)?;
        // A registry that says what is wrong may take more room for it than the thing itself would.
        let cap = largest.max(LARGEST_ANSWER);
        let (mut answer, at_home) =
            self.follow(url.clone(), kind.accepts(), authorization.as_ref(), cap).await?;
        if answer.status == StatusCode::UNAUTHORIZED && at_home {
            let granted = self.authorize(&answer.headers).await?;
            *authorization = Some(granted);
            (answer, _) = self.follow(url, kind.accepts(), authorization.as_ref(), cap).await?;
        }
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.unauthorized()),
            StatusCode::NOT_FOUND => {
                return Err(RegistryError::NotFound {
                    what: kind.name(),
                    digest: digest.to_owned(),
                    registry: self.reference.registry().to_owned(),
                    repository: self.reference.repository().to_owned(),
                });
            }
            status => return Err(self.other_status(kind.name(), status)),
        }
        let found = format!("sha256:{}", sha256_hex(&answer.body));
        if found != digest {
            return Err(RegistryError::DigestMismatch {
                what: kind.name(),
                registry: self.reference.registry().to_owned(),
                expected: digest.to_owned(),
                found,
            });
        }
        Ok(answer.body)
    }

    /// Sends a GET and goes where redirects lead: blobs often lie elsewhere. `authorization` stays at the first origin.
    /// Also says whether the answer is from there.
    async fn follow(
        &self,
        mut url: Url,
        accepts: &'static str,
        authorization: Option<&HeaderValue>,
        cap: u64,
    ) -> Result<(Answer, bool), RegistryError> {
        let home = url.origin();
        let mut at_home = true;
        for _ in 0..=REDIRECTS {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accepts));
            headers.insert(
                USER_AGENT,
                HeaderValue::from_static(concat!("kai-host/", env!("CARGO_PKG_VERSION"))),
            );
            if let Some(authorization) = authorization.filter(|_| at_home) {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let cap = usize::try_from(cap).unwrap_or(usize::MAX);
            let answer = self.client.get(url.clone(), headers, cap).await;
            let answer = answer.map_err(|fault| self.unanswered(&url, &fault))?;
            let location = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection());
            let Some(location) = location else { return Ok((answer, at_home)) };
            let target = location.to_str().ok().and_then(|location| url.join(location).ok());
            let Some(target) = target else {
                return Err(self.unexpected("it redirects to what is no URL".to_owned()));
            };
            self.check_scheme(&target)?;
            at_home = at_home && target.origin() == home;
            url = target;
        }
        Err(self.unexpected(format!("it redirects more than {REDIRECTS} times")))
    }

    /// What to send, after a request without it was refused.
    async fn authorize(&self, headers: &HeaderMap) -> Result<HeaderValue, RegistryError> {
        let account = match self.credential {
            None => None,
            Some(RegistryCredential::Basic { username, password }) => {
                let pair = SecretString::from(format!("{username}:{}", password.expose_secret()));
                let encoded = SecretString::from(STANDARD.encode(pair.expose_secret()));
                Some(self.header("Basic", &encoded)?)
            }
            // It was sent already.
            Some(RegistryCredential::Token(_)) => return Err(self.unauthorized()),
        };
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<(&str, &str)> =
            challenges.map(|challenge| challenge.split_once(' ').unwrap_or((challenge, ""))).collect();
        let of = |wanted: &str| challenges.iter().find(|(scheme, _)| scheme.eq_ignore_ascii_case(wanted));
        let Some((_, parameters)) = of("Bearer") else {
            return account.filter(|_| of("Basic").is_some()).ok_or_else(|| self.unauthorized());
        };
        let realm = parameter(parameters, "realm").and_then(|realm| Url::parse(realm).ok());
        let Some(mut url) = realm else {
            return Err(self.unexpected("it does not say where it gives out its tokens".to_owned()));
        };
        self.check_scheme(&url)?;
        if let Some(service) = parameter(parameters, "service") {
            url.query_pairs_mut().append_pair("service", service);
        }
        // No more than is needed, whatever the registry proposes.
        let scope = format!("repository:{}:pull", self.reference.repository());
        url.query_pairs_mut().append_pair("scope", &scope);
        let (answer, _) = self.follow(url, "application/json", account.as_ref(), LARGEST_ANSWER).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.unauthorized()),
            status => return Err(self.other_status("token", status)),
        }
        let granted: Option<Granted> = serde_json::from_slice(&answer.body).ok();
        match granted.and_then(|granted| granted.token.or(granted.access_token)) {
            Some(SecretText(token)) => self.bearer(&token),
            None => Err(self.unexpected("its token service answers without a token".to_owned())),
        }
    }

    fn bearer(&self, token: &SecretString) -> Result<HeaderValue, RegistryError> {
        self.header("Bearer", token)
    }

    fn header(&self, scheme: &str, secret: &SecretString) -> Result<HeaderValue, RegistryError> {
        let text = SecretString::from(format!("{scheme} {}", secret.expose_secret()));
        let mut header = HeaderValue::from_str(text.expose_secret()).map_err(|_| self.unauthorized())?;
        // Keeps the value out of the client's own logs.
        header.set_sensitive(true);
        Ok(header)
    }

    fn url(&self, kind: Kind, digest: &str) -> Result<Url, RegistryError> {
        let registry = match self.reference.registry() {
            // Docker Hub's name, and where its registry really is.
            "docker.io" => "registry-1.docker.io",
            registry => registry,
        };
        let (repository, path) = (self.reference.repository(), kind.path());
        let url = |scheme| Url::parse(&format!("{scheme}://{registry}/v2/{repository}/{path}/{digest}"));
        let url = match url("http") {
            Ok(plain) if self.may_be_plain(&plain) => Ok(plain),
            _ => url("https"),
        };
        url.map_err(|error| self.unexpected(format!("its name makes no URL: {error}")))
    }

    /// Plain http is for this machine only, and only where the host allows local sites.
    fn may_be_plain(&self, url: &Url) -> bool {
        self.allow_local && is_local(url)
    }

    fn check_scheme(&self, url: &Url) -> Result<(), RegistryError> {
        if url.scheme() == "https" || (url.scheme() == "http" && self.may_be_plain(url)) {
            return Ok(());
        }
        // Without its path: what is behind a redirect may be signed.
        let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
        Err(self.unexpected(format!("it leads to {scheme}://{host}, which is not https")))
    }

    fn unanswered(&self, url: &Url, fault: &Fault) -> RegistryError {
        let registry = url.origin().ascii_serialization();
        if matches!(fault, Fault::TooLarge(_)) {
            return RegistryError::Unexpected { registry, what: fault.to_string() };
        }
        let mut reason = fault.to_string();
        // The first thing that goes wrong with a registry on one's own machine.
        if is_local(url) && !self.allow_local && matches!(fault, Fault::Broken(_)) {
            reason += "; plain http would need the permission to reach local sites";
        }
        RegistryError::Unavailable { registry, reason }
    }

    /// An answer that is none of those that the specification has for the request.
    fn other_status(&self, wanted: &str, status: StatusCode) -> RegistryError {
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let registry = self.reference.registry().to_owned();
            return RegistryError::Unavailable { registry, reason: format!("it answers {status}") };
        }
        self.unexpected(format!("asked for a {wanted}, it answers {status}"))
    }

    fn unauthorized(&self) -> RegistryError {
        RegistryError::Unauthorized {
            registry: self.reference.registry().to_owned(),
            repository: self.reference.repository().to_owned(),
            with_credential: self.credential.is_some(),
        }
    }

    fn unexpected(&self, what: String) -> RegistryError {
        RegistryError::Unexpected { registry: self.reference.registry().to_owned(), what }
    }
}

/// Whether the host is this machine by its name alone.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The value of a parameter of a challenge: `realm="https://registry.example/token",service="registry.example"`.
fn parameter<'a>(mut parameters: &'a str, wanted: &str) -> Option<&'a str> {
    loop {
        let (name, rest) = parameters.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        if name.trim_matches([' ', ',', '\t']).eq_ignore_ascii_case(wanted) {
            return Some(value.trim());
        }
        parameters = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_challenge_are_found_whatever_is_quoted() {
        let challenge = r#"realm="https://auth.example/token?a=b,c",service=registry.example, Scope="repository:a/b:pull,push""#;
        assert_eq!(parameter(challenge, "realm"), Some("https://auth.example/token?a=b,c"));
        assert_eq!(parameter(challenge, "service"), Some("registry.example"));
        assert_eq!(parameter(challenge, "scope"), Some("repository:a/b:pull,push"));
        for broken in ["", "realm", "realm=\"https://auth.example", ",,,"] {
            assert_eq!(parameter(broken, "service"), None, "{broken}");
        }
    }

    #[test]
    fn a_credential_shows_no_secret() {
        let password = RegistryCredential::Basic { username: "ada".into(), password: "pass-word".into() };
        let shown = format!("{password:?} {:?}", RegistryCredential::Token("to-ken".into()));
        assert!(
            shown.contains("ada") && !shown.contains("pass-word") && !shown.contains("to-ken"),
            "{shown}"
        );
    }
}
