//! A registered source, with its token kept out of sight.

use secrecy::SecretString;

use crate::bindings::GuestSource;

/// A registered source: what the contract's `source` holds, with the token as a secret.
///
/// `Debug` shows no secret. Fields are checked by the connector; see [`Session::validate`](crate::Session::validate).
#[derive(Debug, Clone)]
pub struct Source {
    /// Which kind of connector reads it, such as `CONFLUENCE`.
    pub kind: String,
    /// Workspace root, such as `https://your-org.atlassian.net`: the one origin that a session may reach.
    pub base_url: String,
    /// Account of the token.
    pub email: String,
    /// API token. Stays in the host; the guest gets a stand-in.
    pub api_token: SecretString,
    /// Key of the one space to read; none: every visible space.
    pub space_key: Option<String>,
    /// For scoped API tokens, which work through the gateway only: the gateway becomes the one origin.
    pub cloud_id: Option<String>,
}

impl Source {
    /// The source as a guest sees it.
    pub(crate) fn lower(&self, stand_in: &str) -> GuestSource {
        GuestSource {
            kind: self.kind.clone(),
            base_url: self.base_url.clone(),
            email: self.email.clone(),
            api_token: stand_in.to_owned(),
            space_key: self.space_key.clone(),
            cloud_id: self.cloud_id.clone(),
        }
    }
}
