//! What is measured, and the tables that come out.

pub(crate) mod conversion;
pub(crate) mod delta;
pub(crate) mod instances;
pub(crate) mod scale;
pub(crate) mod service;
pub(crate) mod start;
pub(crate) mod sync;

use std::path::{Path, PathBuf};
use std::{fs, io};

use tempfile::TempDir;

use crate::Failure;
use crate::measured::{self, Usage};
use crate::site_process::{Content, SiteProcess};
use crate::tasks::SyncFigures;

/// What all scenarios share.
pub(crate) struct Bench {
    pub(crate) component: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) short: bool,
    pub(crate) plot: Option<PathBuf>,
    /// Holds the compiled component and what is measured in files.
    directory: TempDir,
}

/// A sync and the store that it left.
pub(crate) struct Synced {
    pub(crate) figures: SyncFigures,
    pub(crate) database_bytes: u64,
}

impl Bench {
    pub(crate) fn new(
        component: PathBuf,
        rounds: usize,
        short: bool,
        plot: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        Ok(Self { component, rounds, short, plot, directory: tempfile::tempdir()? })
    }

    /// A site; its component is compiled by then, so that no measurement compiles.
    pub(crate) async fn site(&self, content: Content) -> Result<SiteProcess, Failure> {
        eprintln!("a site of {} pages of {} bytes", content.pages, content.page_bytes);
        let mut site = SiteProcess::start(content).await?;
        self.task::<Usage>(&["measure-reading", &site.base_url]).await?;
        if !self.cache().exists() {
            let small = SiteProcess::start(Content { spaces: 1, pages: 1, page_bytes: 100 }).await?;
            self.sync(&small, &self.fresh_data()?).await?;
        }
        site.asked().await?;
        Ok(site)
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    pub(crate) fn cache_argument(&self) -> String {
        self.cache().display().to_string()
    }

    /// A data directory that goes with its value.
    pub(crate) fn fresh_data(&self) -> io::Result<TempDir> {
        tempfile::tempdir_in(self.directory.path())
    }

    pub(crate) async fn task<T: serde::de::DeserializeOwned>(
        &self,
        arguments: &[&str],
    ) -> Result<T, Failure> {
        measured::run(&self.component, arguments).await
    }

    pub(crate) async fn sync(&self, site: &SiteProcess, data: &TempDir) -> Result<Synced, Failure> {
        let path = data.path().display().to_string();
        let arguments = ["measure-sync", &site.base_url, &path, &self.cache_argument()];
        let figures = self.task(&arguments).await?;
        Ok(Synced { figures, database_bytes: directory_bytes(data.path())? })
    }

    /// A first run into a store of its own, which must bring every page.
    pub(crate) async fn first_sync(&self, site: &SiteProcess, pages: usize) -> Result<Synced, Failure> {
        let synced = self.sync(site, &self.fresh_data()?).await?;
        if synced.figures.documents != pages as u64 {
            return Err(format!("{} of {pages} pages came", synced.figures.documents).into());
        }
        Ok(synced)
    }
}

fn directory_bytes(directory: &Path) -> io::Result<u64> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}
