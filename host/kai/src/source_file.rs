//! The registration document: what a user writes to register a source.

use std::fs;
use std::path::Path;

use kai_host::Source;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::Error as _;
use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// The environment variable that fills in a missing `api_token`.
pub const TOKEN_VARIABLE: &str = "KAI_API_TOKEN";

/// The one kind of source that there is.
const KIND: &str = "CONFLUENCE";

/// A registered source and which part of it is read.
#[derive(Debug, Clone)]
pub struct Registration {
    /// What the connector gets, token apart.
    pub source: Source,
    /// Overrides the source's `space_key`.
    pub scope_path: Option<String>,
    /// The id that a store gave it, where that is not the one that its fields make: of another tenant, or read in
    /// another scope than it was registered with.
    pub registered_as: Option<String>,
}

/// The fields of a registration document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) kind: String,
    pub(crate) base_url: String,
    pub(crate) email: String,
    #[serde(default)]
    pub(crate) api_token: Option<SecretText>,
    #[serde(default)]
    pub(crate) space_key: Option<String>,
    #[serde(default)]
    pub(crate) scope_path: Option<String>,
    #[serde(default)]
    pub(crate) cloud_id: Option<String>,
}

/// Text that serde's own messages must not repeat: "invalid type: integer `1234`".
pub(crate) struct SecretText(pub(crate) SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text.into())),
            _ => Err(D::Error::custom("api_token must be a string")),
        }
    }
}

impl Registration {
    /// Reads a registration document.
    ///
    /// # Errors
    /// [`Error::SourceFile`], naming the file, the field and the remedy; it holds no secret.
    pub fn read(path: &Path, token: Option<SecretString>) -> Result<Self, Error> {
        let name = path.display();
        let text = fs::read(path).map_err(|error| {
            Error::SourceFile(format!(
                "source file {name} cannot be read: {error}; give the path of a registration document"
            ))
        })?;
        Self::parse(&text, token).map_err(|reason| Error::SourceFile(format!("source file {name}: {reason}")))
    }

    /// Reads a registration document from text; `token` fills in a missing `api_token`.
    ///
    /// # Errors
    /// What is wrong, where, and what to write instead.
    pub fn parse(text: &[u8], token: Option<SecretString>) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(text).map_err(|error| {
            if error.is_data() {
                format!("{error}; the fields are kind, base_url, email, api_token, space_key, scope_path and cloud_id")
            } else {
                // A message about broken JSON can quote what stands there, which may be the token.
                format!("this is not JSON (line {}, column {})", error.line(), error.column())
            }
        })?;
        Self::from_document(document, token)
    }

    /// The source that a document names; `token` fills in a missing `api_token`.
    pub(crate) fn from_document(document: Document, token: Option<SecretString>) -> Result<Self, String> {
        if document.kind != KIND {
            return Err(format!("kind is {:?}: write \"{KIND}\"", document.kind));
        }
        let given =
            document.api_token.map(|token| token.0).filter(|token| !token.expose_secret().trim().is_empty());
        let Some(api_token) = given.or(token) else {
            return Err(format!(
                "api_token is missing: write it into the document, or, for the command line, set {TOKEN_VARIABLE}"
            ));
        };
        for (field, value) in [("base_url", &document.base_url), ("email", &document.email)] {
            if value.trim().is_empty() {
                return Err(format!("{field} is empty"));
            }
        }
        Ok(Self {
            source: Source {
                kind: document.kind,
                base_url: document.base_url,
                email: document.email,
                api_token,
                space_key: document.space_key,
                cloud_id: document.cloud_id,
            },
            scope_path: document.scope_path,
            registered_as: None,
        })
    }

    /// Reads another part of the source than the document says.
    #[must_use]
    pub fn with_scope_path(mut self, scope_path: Option<String>) -> Self {
        if scope_path.is_some() {
            self.scope_path = scope_path;
        }
        self
    }

    /// The space that is read; none: every visible one.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope_path.as_deref().or(self.source.space_key.as_deref())
    }

    /// What the source is known as in a store: what it was registered as, or else the same for the same site, account
    /// and scope, whatever the token. Another scope is another source, so that what one leaves out is not taken for
    /// deleted by the other.
    #[must_use]
    pub fn id(&self) -> String {
        self.registered_as.clone().unwrap_or_else(|| self.own_id())
    }

    /// The id that its fields make.
    pub(crate) fn own_id(&self) -> String {
        let scope = self.scope().map(space_of);
        let parts = [
            self.source.kind.as_str(),
            self.source.base_url.trim().trim_end_matches('/'),
            self.source.email.as_str(),
            self.source.cloud_id.as_deref().unwrap_or_default(),
            scope.unwrap_or_default(),
        ];
        let digest = Sha256::digest(parts.join("\n"));
        digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The key of the space that a scope names, also as `/KEY` or `spaces/KEY`.
pub(crate) fn space_of(scope: &str) -> &str {
    scope.trim_matches('/').trim_start_matches("spaces/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"kind":"CONFLUENCE","base_url":"https://a.example","email":"e@a.example","api_token":"s3cret"}"#;

    fn refused(text: &str) -> String {
        let reason = Registration::parse(text.as_bytes(), None).unwrap_err();
        assert!(!reason.contains("s3cret"), "{reason}");
        reason
    }

    #[test]
    fn a_registration_document_is_read() {
        let registration = Registration::parse(GOOD.as_bytes(), None).unwrap();
        assert_eq!(registration.source.email, "e@a.example");
        assert_eq!(registration.source.api_token.expose_secret(), "s3cret");
        assert!(!format!("{registration:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_shown() {
        assert!(refused("").contains("not JSON"));
        assert!(refused(r#"{"api_token":"s3cret" "kind":1}"#).contains("not JSON"));
        assert!(refused(&GOOD.replace("email", "e_mail")).contains("unknown field `e_mail`"));
        assert!(refused(&GOOD.replace(r#""email":"e@a.example","#, "")).contains("missing field `email`"));
        assert!(
            refused(&GOOD.replace("CONFLUENCE", "JIRA")).contains("kind is \"JIRA\": write \"CONFLUENCE\"")
        );
        assert!(refused(&GOOD.replace("e@a.example", " ")).contains("email is empty"));
        assert!(refused(&GOOD.replace(r#""s3cret""#, r#"["s3cret"]"#)).contains("must be a string"));
        assert!(refused(&GOOD.replace(r#""s3cret""#, r#""""#)).contains(TOKEN_VARIABLE));
    }

    #[test]
    fn the_environment_fills_in_a_missing_token() {
        let text = GOOD.replace(r#","api_token":"s3cret""#, "");
        let registration = Registration::parse(text.as_bytes(), Some("other".into())).unwrap();
        assert_eq!(registration.source.api_token.expose_secret(), "other");
        let given = Registration::parse(GOOD.as_bytes(), Some("other".into())).unwrap();
        assert_eq!(given.source.api_token.expose_secret(), "s3cret");
    }

    #[test]
    fn a_source_keeps_its_id_when_its_token_rotates_and_gets_another_for_another_scope() {
        let read = |text: &str| Registration::parse(text.as_bytes(), None).unwrap();
        let id = read(GOOD).id();
        assert_eq!(read(&GOOD.replace("s3cret", "rotated")).id(), id);
        assert_eq!(read(&GOOD.replace("a.example\"", "a.example/\"")).id().len(), id.len());
        let scoped = read(GOOD).with_scope_path(Some("/spaces/ENG".into())).id();
        assert_ne!(scoped, id);
        assert_eq!(read(GOOD).with_scope_path(Some("ENG".into())).id(), scoped);
    }
}
