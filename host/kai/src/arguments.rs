//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

/// Below, a watch would only keep the site busy.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// Your Confluence Cloud as clean Markdown, kept up to date.
#[derive(Debug, Parser)]
#[command(name = "kai", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Connector to run instead of the built-in one: a file, or oci://REGISTRY/REPOSITORY[:TAG]@sha256:DIGEST
    #[arg(long, global = true, value_name = "FILE|OCI")]
    pub(crate) component: Option<PathBuf>,
    /// Allow http and private addresses: for a test site
    #[arg(long, global = true)]
    pub(crate) allow_local: bool,
    /// Trust the certificate authorities in this PEM file, too
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// What to log to stderr: off, error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL", default_value = "error")]
    pub(crate) log: LevelFilter,
    /// How to write the log and errors to stderr
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sync a simulated site end to end and show what came of it
    Demo {
        /// Serve it instead: the simulated site and the service, ready to be clicked through
        #[arg(long)]
        serve: bool,
        /// With --serve: where to listen
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", requires = "serve")]
        listen: SocketAddr,
    },
    /// Serve: register sources, watch them sync and read their documents by browser or API
    Serve(Serve),
    /// Keys that let in to the service
    #[command(subcommand)]
    Keys(Keys),
    /// Those whose sources others do not see
    #[command(subcommand)]
    Tenants(Tenants),
    /// Check a source: its fields, its credential, its space
    Validate {
        /// Registration document (JSON)
        #[arg(long, value_name = "FILE")]
        source: PathBuf,
    },
    /// Bring the store up to date with a source, or with every registered one
    Sync(Sync),
    /// Register sources in the store, so that it keeps their tokens, sealed
    #[command(subcommand)]
    Sources(Sources),
    /// Show the documents of the store
    Documents {
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
        /// Only of this source
        #[arg(long, value_name = "ID")]
        source: Option<String>,
        /// Only this page
        #[arg(long, value_name = "PAGE")]
        id: Option<String>,
        /// The pages that could not be had, with cause and attempts, instead of documents
        #[arg(long)]
        failed: bool,
        /// One JSON object a line, with the content
        #[arg(long)]
        json: bool,
    },
    /// Show what was written to the store and removed from it, in order, as one JSON object a line
    Changes(Changes),
    /// Copy the store while it is in use, into a data directory of its own
    Backup(Backup),
    /// Turn storage format into Markdown
    Convert {
        /// Storage format; none or -: stdin
        file: Option<PathBuf>,
        /// Title of the page
        #[arg(long, value_name = "T")]
        title: String,
        /// Workspace root, for links
        #[arg(long, value_name = "U")]
        base_url: String,
        /// Id of the page, for links to its attachments
        #[arg(long, value_name = "ID")]
        page_id: String,
        /// Key of its space, for links to pages beside it
        #[arg(long, value_name = "K")]
        space_key: String,
        /// Print what was not understood or dropped instead of the Markdown
        #[arg(long)]
        check: bool,
    },
    /// Show what the component is and what it asks for
    Inspect,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sources {
    /// Check a source and register it, or update it
    Add {
        /// Registration document (JSON); KAI_API_TOKEN fills in a missing api_token
        file: PathBuf,
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
    },
    /// Show the sources of the store and what it has of them
    List {
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Remove a source with all its documents
    Remove {
        /// Its id, as `kai sources list` shows it
        id: String,
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
    },
    /// Check a new token, from KAI_API_TOKEN or else from stdin, and keep it instead of the old one
    RotateToken {
        /// Id of the source, as `kai sources list` shows it
        id: String,
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = "kai-data")]
    pub(crate) data: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Certificate chain (PEM), for TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key and print it, once
    Add {
        /// What it is for
        name: String,
        /// Whose key it is; none: the administration's
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
    },
    /// Show the keys, without what opens
    List {
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Let a key in no longer
    Revoke {
        /// Its id, as `kai keys list` shows it
        id: String,
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tenants {
    /// Make a tenant
    Add {
        /// Lower-case letters, digits and hyphens
        id: String,
        /// For people; none: the id
        #[arg(long)]
        name: Option<String>,
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
    },
    /// Show the tenants
    List {
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
    },
    /// Remove a tenant that has no sources, with its keys
    Remove {
        /// Its id
        id: String,
        /// Data directory
        #[arg(long, value_name = "DIR", default_value = "kai-data")]
        data: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Changes {
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = "kai-data")]
    pub(crate) data: PathBuf,
    /// Only what came after the change of this number; 0 for all that there is
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) after: u64,
    /// Only of this source
    #[arg(long, value_name = "ID")]
    pub(crate) source: Option<String>,
    /// Go on with what comes, until Ctrl-C or SIGTERM
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = "kai-data")]
    pub(crate) data: PathBuf,
    /// Directory of the copy; made where it does not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Replace the store that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// Registration document (JSON), or id of a registered source; none: every registered source
    #[arg(long, value_name = "FILE|ID")]
    pub(crate) source: Option<PathBuf>,
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = "kai-data")]
    pub(crate) data: PathBuf,
    /// Write the documents as files, too: SPACE/Title-ID.md
    #[arg(long, value_name = "DIR")]
    pub(crate) markdown: Option<PathBuf>,
    /// Compare every page, and remove what is gone
    #[arg(long)]
    pub(crate) full: bool,
    /// Read this space instead of the one that the file names
    #[arg(long, value_name = "KEY")]
    pub(crate) scope_path: Option<String>,
    /// With --full: remove what is gone however much that is
    #[arg(long, requires = "full")]
    pub(crate) confirm_removals: bool,
    /// Go on, with a run of each source that far apart (30s, 5m, 2h), until Ctrl-C or SIGTERM
    #[arg(long, value_name = "INTERVAL", value_parser = interval, conflicts_with = "confirm_removals")]
    pub(crate) watch: Option<Duration>,
    /// With --watch: compare every page, and remove what is gone, when that was last done so long ago
    #[arg(long, value_name = "INTERVAL", value_parser = interval, default_value = "1d", requires = "watch")]
    pub(crate) full_every: Duration,
    /// Print the summary as JSON; of every registered source, one line each
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= SHORTEST_INTERVAL => Ok(interval),
        Ok(_) => Err("a second is the shortest".to_owned()),
        Err(error) => Err(format!("{error}; write 30s, 5m or 2h")),
    }
}
