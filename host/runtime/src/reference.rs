//! How a component in a registry is named.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::error::ReferenceError;

/// Characters of a repository's name and of a tag, as the OCI distribution specification limits them.
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;

/// A component in an OCI registry, pinned by the SHA-256 digest of its manifest, such as
/// `registry.example/team/confluence-connector:0.1.0@sha256:...`.
///
/// The registry is always named, and so is the digest: a tag may lead to another component tomorrow, a digest never. A
/// tag beside it is a note for people. Parses with or without `oci://` before it and is shown without.
///
/// ```
/// let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
/// let reference: kai_host::RegistryReference =
///     format!("registry.example/team/confluence-connector:0.1.0@{digest}").parse()?;
/// assert_eq!(reference.registry(), "registry.example");
/// assert_eq!(reference.digest(), digest);
/// assert!("registry.example/team/confluence-connector:0.1.0".parse::<kai_host::RegistryReference>().is_err());
/// # Ok::<(), kai_host::ReferenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: String,
}

impl RegistryReference {
    /// Host and, where it is not the scheme's own, port: `registry.example` or `localhost:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Such as `team/confluence-connector`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Such as `0.1.0`, where it was written. Nothing is looked up by it.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest: `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        write!(formatter, "@{}", self.digest)
    }
}

impl FromStr for RegistryReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let text = text.trim();
        let text = text.strip_prefix("oci://").unwrap_or(text);
        let (name, digest) = match text.rsplit_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // Refused before anything is quoted in an error: there may be a password in it.
        if name.contains('@') || digest.is_some_and(|digest| digest.contains('/')) {
            return Err(ReferenceError::UserInformation);
        }
        let (registry, path) = name.split_once('/').unwrap_or((name, ""));
        let registry = registry.to_ascii_lowercase();
        if !is_registry(&registry) {
            return Err(ReferenceError::Registry(registry));
        }
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !is_repository(repository) {
            return Err(ReferenceError::Repository(repository.to_owned()));
        }
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag(tag.to_owned()));
        }
        let Some(digest) = digest else { return Err(ReferenceError::NoDigest(name.to_owned())) };
        if !is_sha256(digest) {
            return Err(ReferenceError::Digest(digest.to_owned()));
        }
        Ok(Self {
            registry,
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.to_owned(),
        })
    }
}

/// Whether this is `sha256:` and 64 hexadecimal digits, the only kind of digest that is checked here.
pub(crate) fn is_sha256(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A host that cannot be mistaken for the first part of a repository, with or without a port.
fn is_registry(registry: &str) -> bool {
    let characters = registry
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']'));
    let distinct = registry.contains(['.', ':']) || registry == "localhost";
    characters && distinct && !registry.ends_with(':') && Url::parse(&format!("https://{registry}/")).is_ok()
}

/// Parts of lower-case letters and digits, which `.`, `_`, `__` or hyphens may hold together.
fn is_repository(repository: &str) -> bool {
    repository.len() <= LONGEST_REPOSITORY
        && repository.split('/').all(|part| {
            let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let separators = part.split(|character: char| inner(character as u8) && character.is_ascii());
            part.bytes().next().is_some_and(inner)
                && part.bytes().last().is_some_and(inner)
                && separators.into_iter().all(|separator| {
                    matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
                })
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parse(text: &str) -> Result<RegistryReference, ReferenceError> {
        text.replace("DIGEST", DIGEST).parse()
    }

    #[test]
    fn a_reference_names_registry_repository_and_digest() {
        for (text, registry, repository, tag) in [
            ("registry.example/connector@DIGEST", "registry.example", "connector", None),
            ("oci://registry.example/team/c:0.1.0@DIGEST", "registry.example", "team/c", Some("0.1.0")),
            ("Registry.Example:8443/a/b/c-d__e.f_g@DIGEST", "registry.example:8443", "a/b/c-d__e.f_g", None),
            ("localhost/c:latest@DIGEST", "localhost", "c", Some("latest")),
            ("127.0.0.1:5000/c@DIGEST", "127.0.0.1:5000", "c", None),
            ("[::1]:5000/c:_a.b-C@DIGEST", "[::1]:5000", "c", Some("_a.b-C")),
            (" registry.example/c@DIGEST\n", "registry.example", "c", None),
        ] {
            let reference = parse(text).unwrap();
            assert_eq!(
                (reference.registry(), reference.repository(), reference.tag(), reference.digest()),
                (registry, repository, tag, DIGEST),
                "{text}"
            );
            assert_eq!(reference.to_string().parse(), Ok(reference), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_by_its_part() {
        let long = format!("registry.example/{}@DIGEST", "a".repeat(256));
        let long_tag = format!("registry.example/c:{}@DIGEST", "a".repeat(129));
        for (text, part) in [
            ("", "registry"),
            ("connector@DIGEST", "registry"),
            ("team/connector@DIGEST", "registry"),
            ("https://registry.example/c@DIGEST", "registry"),
            ("registry.example:port/c@DIGEST", "registry"),
            ("registry.example:99999/c@DIGEST", "registry"),
            ("registry example.com/c@DIGEST", "registry"),
            ("registry.example@DIGEST", "repository"),
            ("registry.example/@DIGEST", "repository"),
            ("registry.example//c@DIGEST", "repository"),
            ("registry.example/Team/c@DIGEST", "repository"),
            ("registry.example/../c@DIGEST", "repository"),
            ("registry.example/c..d@DIGEST", "repository"),
            ("registry.example/c%2fd@DIGEST", "repository"),
            ("registry.example/c?x=y@DIGEST", "repository"),
            ("registry.example/ç@DIGEST", "repository"),
            (&long, "repository"),
            ("registry.example/c:@DIGEST", "tag"),
            ("registry.example/c:.hidden@DIGEST", "tag"),
            ("registry.example/c:a/b@DIGEST", "tag"),
            ("registry.example/c:a:b@DIGEST", "tag"),
            (&long_tag, "tag"),
            ("registry.example/c@", "digest"),
            ("registry.example/c@sha256:abc", "digest"),
            ("registry.example/c@sha512:DIGEST", "digest"),
            ("registry.example/c@DIGEST0", "digest"),
        ] {
            let error = parse(text).unwrap_err();
            let found = match &error {
                ReferenceError::Registry(_) => "registry",
                ReferenceError::Repository(_) => "repository",
                ReferenceError::Tag(_) => "tag",
                ReferenceError::Digest(_) => "digest",
                other => panic!("{text}: {other}"),
            };
            assert_eq!(found, part, "{text}: {error}");
        }
    }

    #[test]
    fn without_a_digest_the_error_says_what_to_write() {
        for name in ["registry.example/team/c:0.1.0", "registry.example/team/c", "localhost:5000/c"] {
            let error = parse(name).unwrap_err();
            assert_eq!(error, ReferenceError::NoDigest(name.to_owned()));
            assert!(error.to_string().contains(&format!("{name}@sha256:")), "{error}");
        }
    }

    #[test]
    fn a_password_in_a_reference_is_refused_and_not_repeated() {
        for text in ["ada:secret@registry.example/c@DIGEST", "oci://ada:secret@registry.example/c:0.1.0"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, ReferenceError::UserInformation, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
