//! `kai convert` of one small page, from the start of the process to its end.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use tokio::process::Command;

use crate::Failure;
use crate::scenarios::Bench;
use crate::table::{self, median, number};

pub(crate) async fn run(bench: &Bench) -> Result<(), Failure> {
    let kai = std::env::current_exe()?.with_file_name("kai");
    let directory = bench.fresh_data()?;
    let page = directory.path().join("page.xml");
    fs::write(&page, "<h1>Deploy</h1><p>One <strong>small</strong> page.</p>")?;
    let start = async || -> Result<f64, Failure> {
        let began = Instant::now();
        let status = Command::new(&kai)
            .arg("convert")
            .arg(&page)
            .args([
                "--title",
                "T",
                "--base-url",
                "https://acme.atlassian.net",
                "--page-id",
                "1",
                "--space-key",
                "ENG",
            ])
            .env("XDG_CACHE_HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await
            .map_err(|error| format!("{}: {error}; `make bench` builds it", kai.display()))?;
        if !status.success() {
            return Err(format!("kai convert failed: {status}").into());
        }
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    };
    let cold = start().await?;
    let mut warm = Vec::new();
    for _ in 0..bench.rounds * 8 {
        warm.push(start().await?);
    }
    let megabytes = |path| -> Result<String, Failure> { Ok(number(fs::metadata(path)?.len() as f64 / 1e6)) };
    table::print(
        "Start",
        &["", ""],
        &[
            vec!["kai convert, nothing compiled yet".to_owned(), format!("{} ms", number(cold))],
            vec![
                "kai convert, compile cache warm (median)".to_owned(),
                format!("{} ms", number(median(warm))),
            ],
            vec!["component".to_owned(), format!("{} MB", megabytes(&bench.component)?)],
            vec!["kai, the component inside".to_owned(), format!("{} MB", megabytes(&kai)?)],
        ],
    );
    Ok(())
}
