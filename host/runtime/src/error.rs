//! What can go wrong, by who has to act on it.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::bindings::Error;
use crate::limits::Limit;

/// Why a host could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The engine refuses its configuration.
    #[error("the sandbox engine cannot be configured: {0}")]
    Engine(String),
    /// The directory for compiled components is not usable.
    #[error("the cache directory {path} cannot be used: {reason}")]
    Cache {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file with extra certificate authorities is not usable.
    #[error("the CA file {path} cannot be used: {reason}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a text names no component in a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// It begins with no host.
    #[error(
        "{0:?} is no registry; write its host first, such as registry.example/team/confluence-connector@sha256:..."
    )]
    Registry(String),
    /// It holds a user name or password.
    #[error(
        "a reference holds no user information; give the host the credential of the registry apart from it"
    )]
    UserInformation,
    /// The part between registry and tag.
    #[error("{0:?} is no repository; write it in lower case, such as team/confluence-connector")]
    Repository(String),
    /// The part behind the colon.
    #[error("{0:?} is no tag; leave it out, or write one such as 0.1.0")]
    Tag(String),
    /// A tag, or nothing, where only a digest says for sure what is meant.
    #[error(
        "{0} is not pinned by a digest, so it could be another component tomorrow; write {0}@sha256:... with the digest of its manifest, which the registry shows and `oras resolve {0}` prints"
    )]
    NoDigest(String),
    /// The part behind the `@`.
    #[error("{0:?} is no digest that can be checked; write sha256: and 64 hexadecimal digits in lower case")]
    Digest(String),
}

/// Why a component was not pulled from its registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No answer, or one that asks for patience. Try again later, or check the network, the name and the certificate.
    #[error("the registry {registry} is unavailable: {reason}")]
    Unavailable {
        /// Where the request went.
        registry: String,
        /// What happened on the way.
        reason: String,
    },
    /// The registry has no such manifest or layer, or hides it.
    #[error(
        "the registry {registry} has no {what} {digest} in {repository}; check the reference, and whether the registry hides it from those without a credential"
    )]
    NotFound {
        /// `manifest` or `layer`.
        what: &'static str,
        /// Its digest.
        digest: String,
        /// Host and port.
        registry: String,
        /// Where in the registry it was looked for.
        repository: String,
    },
    /// The registry lets nobody pull without a credential, or not with this one.
    #[error("the registry {registry} does not let {repository} be pulled {}",
        if *.with_credential { "with this credential; check it, and that it may pull" }
        else { "without a credential; give the host one for this registry" })]
    Unauthorized {
        /// Host and port.
        registry: String,
        /// What was to be pulled.
        repository: String,
        /// Whether the host has a credential for the registry.
        with_credential: bool,
    },
    /// The registry sent something else than what the reference pins. Nothing of it was used.
    #[error(
        "the registry {registry} sent a {what} with the digest {found} instead of {expected}; nothing of it was used: ask who runs the registry"
    )]
    DigestMismatch {
        /// `manifest` or `layer`.
        what: &'static str,
        /// Host and port.
        registry: String,
        /// The digest that was asked for.
        expected: String,
        /// The digest of what was sent.
        found: String,
    },
    /// The manifest is not that of a component.
    #[error(
        "{reference} is not a component: a component's manifest has exactly one layer of the type application/wasm, as `wkg oci push` makes it; this one has {}",
        list(.found)
    )]
    Layers {
        /// What was asked for.
        reference: String,
        /// The types of its layers; none also where it is an index, or no manifest at all.
        found: Vec<String>,
    },
    /// The registry does not follow the specification.
    #[error("the registry {registry} is of no use: {what}")]
    Unexpected {
        /// Where the answer is from.
        registry: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Why a component was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The component could not be pulled from its registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The component is larger than any connector.
    #[error("the component has {size} bytes; a connector has {limit} at most")]
    TooLarge {
        /// Bytes of the component.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// No WebAssembly at all.
    #[error("this is not WebAssembly; a connector is a component built for wasm32-wasip2")]
    NotWasm,
    /// A core module.
    #[error("this is a core WebAssembly module, not a component; build it for wasm32-wasip2")]
    CoreModule,
    /// A compiled artifact: its content cannot be checked, so none from outside is ever loaded.
    #[error("this is a precompiled artifact; only WebAssembly components are loaded")]
    Precompiled,
    /// The component asks for more than a connector gets.
    #[error(
        "the component asks for what a connector does not get: {}; allowed are wasi:io, clocks, random, cli (stdio) and http",
        .0.join(", ")
    )]
    ForeignImports(Vec<String>),
    /// The component exports another contract, or another version of this one.
    #[error("the component does not export {contract}; it exports {}", list(.exports))]
    Contract {
        /// What this host speaks.
        contract: &'static str,
        /// What the component exports.
        exports: Vec<String>,
    },
    /// WebAssembly that does not validate or compile, or whose types are not the contract's.
    #[error("the component cannot be used: {0}")]
    Invalid(String),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// Why a source cannot have a session. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// `base_url` is no URL of a site.
    #[error("base_url cannot be used: {0}; write the workspace root, such as https://your-org.atlassian.net")]
    BaseUrl(String),
    /// `base_url` is http.
    #[error(
        "base_url is plain http, which would show the token to the network: write https:// (a local test site needs the permission to be one)"
    )]
    PlainHttp,
    /// `base_url` is an address inside a private network.
    #[error("base_url leads to the private address {0}; a local test site needs the permission to be one")]
    LocalAddress(IpAddr),
    /// The operator of this host allows other hosts only.
    #[error("base_url leads to {0}, which is not among the hosts that the operator allows")]
    HostNotAllowed(String),
    /// The host has as many live tenants as it was built for. Try again when some sessions have ended.
    #[error("the host is busy: {0} tenants have sessions already")]
    TooManyTenants(usize),
    /// The host's HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The connector says so itself.
    #[error("{}", describe(.0))]
    Connector(Error),
    /// The call went over a limit and was ended.
    #[error("the connector went over its limit of {0} and was stopped")]
    Limit(Limit),
    /// The connector crashed: a trap, or an exit, which no connector has reason for.
    #[error("the connector crashed: {0}")]
    Crashed(String),
    /// All instances that the host was built for are in use. Try again later.
    #[error("the host is busy: all sandboxes are in use")]
    Busy,
    /// The host shuts down. Nothing is lost: the next process goes on from the last cursor.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// A fault of this library.
    #[error("the host failed: {0}")]
    Host(String),
}

impl CallError {
    /// The connector's own error, where it is one.
    #[must_use]
    pub fn connector(&self) -> Option<&Error> {
        match self {
            Self::Connector(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Connector(error)
    }
}

/// The contract's errors in words.
pub(crate) fn describe(error: &Error) -> String {
    match error {
        Error::InvalidSource(text) => format!("invalid source: {text}"),
        Error::Authentication(text) => format!("authentication failed: {text}"),
        Error::Forbidden(text) => format!("forbidden: {text}"),
        Error::NotFound(text) => format!("not found: {text}"),
        Error::RateLimited(Some(seconds)) => format!("rate limited: the site asks to wait {seconds} s"),
        Error::RateLimited(None) => "rate limited".to_owned(),
        Error::Unavailable(text) => format!("unavailable: {text}"),
        Error::TooLarge(text) => format!("too large: {text}"),
        Error::Malformed(text) => format!("unexpected answer: {text}"),
        Error::StaleCursor => "the cursor is no longer good".to_owned(),
    }
}
