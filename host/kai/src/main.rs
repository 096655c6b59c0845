//! `kai`: reads the command line and the environment, runs a command, and says how it ended.

mod arguments;
mod commands;
mod demo;
mod messages;
mod progress_bar;
mod service_commands;
mod source_commands;
mod sync_command;
mod watch_schedule;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use kai::error::{Error, exit};
use kai::master_key::{KEY_VARIABLE, KeyLocation};
use kai::source_file::{Registration, TOKEN_VARIABLE};
use kai::store::Filter;
use kai_host::{Limits, StoragePage};

use crate::arguments::{Arguments, Command, Sources};
use crate::commands::Environment;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    messages::start(&arguments.common);
    let environment = Environment {
        token: std::env::var(TOKEN_VARIABLE).ok().map(Into::into),
        // What is no text is no key, and said so: silently taking another one would be worse.
        key: KeyLocation::new(
            std::env::var_os(KEY_VARIABLE).map(|text| text.to_string_lossy().into_owned().into()),
            user_directory("XDG_CONFIG_HOME", ".config"),
        ),
        // Without one, each start compiles anew.
        cache_directory: user_directory("XDG_CACHE_HOME", ".cache"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments, environment)),
        Err(error) => Err(Error::Usage(format!("the runtime cannot be started: {error}"))),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            messages::error(&error);
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
    // Both come to an end of their own when they are told to.
    match &arguments.command {
        Command::Serve(serve) => {
            let connector = connector().await?;
            let stop = async { _ = stop_signal().await };
            return service_commands::serve(connector, serve, &environment, stop).await;
        }
        Command::Demo { serve: true, listen } => {
            let stop = async { _ = stop_signal().await };
            return demo::serve(&environment, &common, *listen, stop).await;
        }
        _ => {}
    }
    let watching = match &arguments.command {
        Command::Sync(sync) => sync.watch.is_some(),
        Command::Changes(changes) => changes.follow,
        _ => false,
    };
    let work = async {
        match arguments.command {
            Command::Demo { .. } => demo::run(&environment, &common, &mut out).await,
            // Served above.
            Command::Serve(_) => Ok(0),
            Command::Keys(keys) => service_commands::keys(&keys, &mut out),
            Command::Tenants(tenants) => service_commands::tenants(&tenants, &mut out),
            Command::Validate { source } => {
                let registration = read(&source)?;
                commands::validate(&connector().await?, &registration, &mut out).await
            }
            Command::Sync(sync) => match (sync.watch, &sync.source) {
                (Some(interval), _) => {
                    sync_command::watch(&connector().await?, interval, &sync, &environment, &mut out).await
                }
                (None, Some(named)) => {
                    let registration = source_commands::find(named, &sync, &environment)?;
                    sync_command::one(&connector().await?, &registration, &sync, &mut out).await
                }
                (None, None) => sync_command::all(&connector().await?, &sync, &environment, &mut out).await,
            },
            Command::Sources(Sources::Add { file, data }) => {
                let registration = read(&file)?;
                let connector = connector().await?;
                source_commands::add(&connector, &registration, &data, &environment, &mut out).await
            }
            Command::Sources(Sources::List { data, json }) => source_commands::list(&data, json, &mut out),
            Command::Sources(Sources::Remove { id, data }) => source_commands::remove(&id, &data, &mut out),
            Command::Sources(Sources::RotateToken { id, data }) => {
                let registration = source_commands::with_new_token(&id, &data, &environment).await?;
                let connector = connector().await?;
                source_commands::rotate(&connector, &registration, &data, &environment, &mut out).await
            }
            Command::Documents { data, source, id, failed, json } => {
                let filter = Filter { source_id: source, id };
                let show = if failed { commands::failures } else { commands::documents };
                show(&data, &filter, json, &mut out)
            }
            Command::Backup(backup) => commands::back_up(&backup, &mut out).await,
            Command::Changes(changes) => commands::changes(&changes, &mut out).await,
            Command::Convert { file, title, base_url, page_id, space_key, check } => {
                let page = StoragePage { id: page_id, title, space_key, base_url, storage: String::new() };
                commands::convert(&connector().await?, file.as_deref(), page, check, &mut out).await
            }
            Command::Inspect => commands::inspect(&connector().await?, &mut out).await,
        }
    };
    tokio::select! {
        result = work => result,
        // Whatever was committed stays. A watch has no other end, so this one is as it should be.
        code = stop_signal() => {
            messages::note("kai: stopped; the next run goes on from here");
            Ok(if watching { 0 } else { code })
        }
    }
}

/// Waits for Ctrl-C or SIGTERM; gives the exit code that says which one it was.
async fn stop_signal() -> u8 {
    let interrupted = async {
        // Where there is no such signal, there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        exit::INTERRUPTED
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            return tokio::select! {
                code = interrupted => code,
                _ = terminated.recv() => exit::TERMINATED,
            };
        }
    }
    interrupted.await
}

/// The program's own directory in one of the user's.
fn user_directory(variable: &str, default: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = named.or_else(|| Some(std::env::home_dir()?.join(default)));
    Some(directory?.join("kai"))
}
