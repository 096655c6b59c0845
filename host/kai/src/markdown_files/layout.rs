//! Which page goes to which file.

use std::collections::{BTreeMap, BTreeSet};

use super::names;
use crate::store::{DocumentName, StoredDocument};

/// All that is held of a page while others are read.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) id: String,
    pub(super) title: String,
}

/// A space with pages.
#[derive(Debug, Default)]
pub(super) struct Space {
    pub(super) folder: String,
    pub(super) pages: Vec<Page>,
}

impl Space {
    pub(super) fn index(&self) -> String {
        format!("{}/{}", self.folder, names::INDEX)
    }

    fn file(&self, title: &str, id: &str) -> String {
        format!("{}/{}", self.folder, names::page_file(title, id))
    }
}

/// Where the documents of a source go, whatever order they come in.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) spaces: BTreeMap<String, Space>,
    /// Scheme and host of the pages' addresses.
    pub(super) sites: BTreeSet<String>,
}

impl Layout {
    pub(super) fn add(&mut self, document: DocumentName) {
        if !self.sites.contains(site(&document.web_url)) {
            self.sites.insert(site(&document.web_url).to_owned());
        }
        let page = Page { id: document.id, title: document.title };
        self.spaces.entry(document.space_key).or_default().pages.push(page);
    }

    /// Names the folders, once all documents are there.
    pub(super) fn name_folders(&mut self, taken: BTreeSet<String>) {
        let keys: Vec<String> = self.spaces.keys().cloned().collect();
        for (key, folder) in names::folders(keys.iter().map(String::as_str), taken) {
            if let Some(space) = self.spaces.get_mut(key) {
                space.folder = folder;
            }
        }
    }

    /// Where a document goes, by the path in the directory. None if it was not added.
    pub(super) fn path(&self, document: &StoredDocument) -> Option<String> {
        let space = self.spaces.get(&document.space_key)?;
        Some(space.file(&document.title, &document.id))
    }

    /// The paths of all files.
    pub(super) fn files(&self) -> BTreeSet<String> {
        let of_space = |space: &Space| {
            let files: Vec<String> =
                space.pages.iter().map(|page| space.file(&page.title, &page.id)).collect();
            files.into_iter().chain([space.index()])
        };
        self.spaces.values().flat_map(of_space).collect()
    }
}

/// Scheme and host of an address.
pub(super) fn site(web_url: &str) -> &str {
    let end = web_url.match_indices('/').nth(2).map_or(web_url.len(), |(at, _)| at);
    web_url.get(..end).unwrap_or_default()
}
