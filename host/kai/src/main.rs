//! `kai`: reads the command line and the environment, runs a command, and says how it ended.

mod arguments;
mod commands;
mod demo;
mod progress_bar;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use kai::error::{Error, exit};
use kai::source_file::{Registration, TOKEN_VARIABLE};
use kai::store::Filter;
use kai_host::{Limits, StoragePage};

use crate::arguments::{Arguments, Command};
use crate::commands::Environment;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(arguments.common.log).with_writer(std::io::stderr).init();
    let environment = Environment {
        token: std::env::var(TOKEN_VARIABLE).ok().map(Into::into),
        cache_directory: cache_directory(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments, environment)),
        Err(error) => Err(Error::Usage(format!("the runtime cannot be started: {error}"))),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            writeln!(std::io::stderr(), "kai: {error}").ok();
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(arguments: Arguments, environment: Environment) -> Result<u8, Error> {
    let common = arguments.common;
    let limits = match arguments.command {
        Command::Convert { .. } => commands::generous_limits(),
        _ => Limits::default(),
    };
    let connector = async || commands::connector(&common, &environment, limits).await;
    let read = |path: &PathBuf| Registration::read(path, environment.token.clone());
    let mut out = std::io::stdout().lock();
    let work = async {
        match arguments.command {
            Command::Demo => demo::run(&environment, &common, &mut out).await,
            Command::Validate { source } => {
                let registration = read(&source)?;
                commands::validate(&connector().await?, &registration, &mut out).await
            }
            Command::Sync(sync) => {
                let registration = read(&sync.source)?.with_scope_path(sync.scope_path.clone());
                commands::sync(&connector().await?, &registration, &sync, &mut out).await
            }
            Command::Documents { data, source, id, failed, json } => {
                let filter = Filter { source_id: source, id };
                let show = if failed { commands::failures } else { commands::documents };
                show(&data, &filter, json, &mut out)
            }
            Command::Convert { file, title, base_url, page_id, space_key, check } => {
                let page = StoragePage { id: page_id, title, space_key, base_url, storage: String::new() };
                commands::convert(&connector().await?, file.as_deref(), page, check, &mut out).await
            }
            Command::Inspect => commands::inspect(&connector().await?, &mut out).await,
        }
    };
    tokio::select! {
        result = work => result,
        // Whatever was committed stays.
        _ = tokio::signal::ctrl_c() => {
            writeln!(std::io::stderr(), "kai: interrupted; the next run goes on from here").ok();
            Ok(exit::INTERRUPTED)
        }
    }
}

/// Where compiled components are kept: the user's cache directory. Without one, each start compiles anew.
fn cache_directory() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    Some(cache?.join("kai"))
}
