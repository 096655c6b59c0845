//! What is told on stderr beside the log, in the format of the log: whoever reads that as JSON meets nothing else.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::OnceLock;

use crate::arguments::{Common, LogFormat};

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Begins the log as the command line says; once, before anything is told.
pub(crate) fn start(arguments: &Common) {
    FORMAT.set(arguments.log_format).ok();
    let log = tracing_subscriber::fmt().with_max_level(arguments.log).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        }
    }
}

/// Whether what is told is read by a program.
pub(crate) fn as_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

/// What went wrong, or how it ended.
pub(crate) fn error(message: impl Display) {
    if as_json() {
        tracing::error!("{message}");
    } else {
        // Nobody reads stderr any more: no reason to stop. Likewise below.
        writeln!(std::io::stderr(), "kai: {message}").ok();
    }
}

/// What has to be told whatever the level of the log is.
pub(crate) fn always(message: impl Display) {
    if as_json() {
        let timestamp = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let line = serde_json::json!({
            "timestamp": timestamp, "level": "INFO", "target": "kai", "message": message.to_string(),
        });
        writeln!(std::io::stderr(), "{line}").ok();
    } else {
        writeln!(std::io::stderr(), "kai: {message}").ok();
    }
}

/// A line of progress, or a note.
pub(crate) fn note(message: impl Display) {
    if as_json() {
        tracing::info!("{message}");
    } else {
        writeln!(std::io::stderr(), "{message}").ok();
    }
}
