//! What can go wrong, and the exit code that says so.

use std::path::PathBuf;

use kai_host::{BuildError, CallError, LoadError, RegistryError, SourceError};

use crate::master_key::KeyError;
use crate::sealed_token::SealedTokenError;
use crate::store::StoreError;

/// Why a command ended without what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registration document is not usable; the text names the file, the field and the remedy.
    #[error("{0}")]
    SourceFile(String),
    /// `base_url` leads nowhere that a session may go.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The component is not usable.
    #[error("component {name}: {error}")]
    Component {
        /// The file, the reference, or "(built in)".
        name: String,
        /// What is wrong with it.
        error: LoadError,
    },
    /// The host could not be built.
    #[error(transparent)]
    Host(#[from] BuildError),
    /// A call failed.
    #[error("{}{error}", match .space { Some(key) => format!("space {key}: "), None => String::new() })]
    Call {
        /// The space that was being read.
        space: Option<String>,
        /// What happened.
        error: CallError,
    },
    /// What the site shows now contradicts what it showed before, as it does when an account loses its access.
    #[error("{0}")]
    Implausible(String),
    /// The store is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key for the tokens of the store.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A token of the store does not open.
    #[error(transparent)]
    SealedToken(#[from] SealedTokenError),
    /// A file or directory is not usable.
    #[error("{path}: {error}", path = .path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Too many pages are gone at once.
    #[error(
        "{gone} of {of} documents are gone from Confluence; nothing was removed. Run the sync again with --full --confirm-removals if that is right"
    )]
    RemovalsRefused {
        /// Documents that would have been removed.
        gone: u64,
        /// Documents of the source.
        of: u64,
    },
    /// The command line asks for something that does not go together, or is not there.
    #[error("{0}")]
    Usage(String),
}

/// Exit codes of `kai`, as its README lists them.
pub mod exit {
    /// A fault of `kai` or of the machine.
    pub const INTERNAL: u8 = 1;
    /// Usage, or an invalid source, component or key.
    pub const USAGE: u8 = 2;
    /// The credential was rejected.
    pub const AUTHENTICATION: u8 = 3;
    /// The space does not exist, or the account may not view it.
    pub const NOT_FOUND: u8 = 4;
    /// Rate limited for longer than the budget.
    pub const RATE_LIMITED: u8 = 5;
    /// The site, or the registry of the component, is unavailable, or the site is no Confluence Cloud site.
    pub const UNAVAILABLE: u8 = 6;
    /// Done, but some pages failed.
    pub const SOME_FAILED: u8 = 7;
    /// Removals refused.
    pub const REMOVALS_REFUSED: u8 = 8;
    /// Interrupted by Ctrl-C; the next run goes on from there.
    pub const INTERRUPTED: u8 = 130;
    /// The same by SIGTERM. A watch ends with 0 in both cases.
    pub const TERMINATED: u8 = 143;
}

impl Error {
    pub(crate) fn call(error: CallError) -> Self {
        Self::Call { space: None, error }
    }

    /// See [`exit`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Component { error: LoadError::Registry(RegistryError::Unavailable { .. }), .. } => {
                exit::UNAVAILABLE
            }
            Self::SourceFile(_) | Self::Source(_) | Self::Component { .. } | Self::Usage(_) => exit::USAGE,
            Self::Key(KeyError::File { .. } | KeyError::Random(_)) => exit::INTERNAL,
            Self::Key(_) | Self::SealedToken(SealedTokenError::OtherKey { .. }) => exit::USAGE,
            Self::SealedToken(SealedTokenError::Damaged { .. }) => exit::INTERNAL,
            Self::Host(BuildError::CaFile { .. }) => exit::USAGE,
            Self::Call { error, .. } => match error.connector() {
                Some(kai_host::Error::InvalidSource(_)) => exit::USAGE,
                Some(kai_host::Error::Authentication(_) | kai_host::Error::Forbidden(_)) => {
                    exit::AUTHENTICATION
                }
                Some(kai_host::Error::NotFound(_)) => exit::NOT_FOUND,
                Some(kai_host::Error::RateLimited(_)) => exit::RATE_LIMITED,
                Some(_) => exit::UNAVAILABLE,
                None => exit::INTERNAL,
            },
            Self::Implausible(_) => exit::UNAVAILABLE,
            Self::RemovalsRefused { .. } => exit::REMOVALS_REFUSED,
            Self::Store(StoreError::BackupRefused { .. }) => exit::USAGE,
            Self::Host(_) | Self::Store(_) | Self::File { .. } => exit::INTERNAL,
        }
    }
}
