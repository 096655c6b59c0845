//! The documents of a source as files: `SPACE/Title-ID.md`, with YAML front matter, and `SPACE/index.md`, which lists
//! them.
//!
//! The files of a run are named in a manifest before the first of them is written, and those that went are named until
//! the last is removed: whatever ends a run, the next one knows every file that may be there. All that is held in memory
//! is names; the documents themselves go by one at a time.
//!
//! A space's folder belongs to one source. Whatever no manifest names is somebody else's and is left alone; where it
//! stands in the way, nothing at all is written. Links are not followed, though one who makes them while a run lasts
//! can deceive it.

mod directory;
mod front_matter;
mod index;
mod layout;
mod manifest;
mod names;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use self::directory::Directory;
use self::layout::Layout;
use self::manifest::Manifest;
use self::plan::Plan;
use crate::error::Error;
use crate::store::{Filter, SqliteStore, StoredDocument};

/// What was done to the files of documents. Those that list a space are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Written {
    /// New, changed or renamed.
    pub written: u64,
    /// As they were; not touched.
    pub unchanged: u64,
    /// Of documents that are gone.
    pub removed: u64,
}

/// Makes `directory` hold exactly the documents of a source, and waits for other runs that write to it. Files that this
/// program did not write, and those of other sources, are left alone.
///
/// # Errors
/// [`Error::Usage`] where a file that this program did not write has the name of one that it would write: then nothing
/// was done. Otherwise the store or the directory is not usable; what was written before stays, and the next run goes on
/// from there.
pub fn write(store: &SqliteStore, source_id: &str, directory: &Path) -> Result<Written, Error> {
    let root = directory;
    let directory = Directory::open(root)?;
    directory.remove_leftovers("")?;
    let mut manifest = Manifest::read(&directory, source_id)?;
    let mut layout = Layout::default();
    store.document_names(source_id, |document| layout.add(document))?;
    layout.name_folders(manifest.folders_of_others(&directory)?);
    let wanted = layout.files();
    let plan = Plan::new(&manifest.files, &wanted);
    refuse_to_overwrite(root, &directory, &layout, &plan)?;

    let known = manifest.files.clone();
    manifest.hold(&directory, known.union(&wanted).cloned().collect())?;
    for folder in manifest.files.iter().map(|file| manifest::folder(file)).collect::<BTreeSet<_>>() {
        directory.remove_leftovers(folder)?;
    }
    for (from, to) in &plan.renames {
        directory.rename(from, to)?;
    }
    let mut counts = Written::default();
    each_document(store, source_id, |document| {
        let Some(file) = layout.path(&document) else { return Ok(()) };
        let text = front_matter::page(&document) + &document.content;
        if directory.write(&file, text.as_bytes())? || !known.contains(&file) {
            counts.written += 1;
        } else {
            counts.unchanged += 1;
        }
        Ok(())
    })?;
    for (key, space) in &layout.spaces {
        directory.write(&space.index(), index::text(key, &space.pages).as_bytes())?;
    }
    for file in &plan.removals {
        if directory.remove(file)? && !file.ends_with(names::INDEX) {
            counts.removed += 1;
        }
    }
    for folder in &plan.folders {
        directory.remove_folder(folder);
    }
    manifest.hold(&directory, wanted)?;
    Ok(counts)
}

/// One after another, until one fails.
fn each_document(
    store: &SqliteStore,
    source_id: &str,
    mut each: impl FnMut(StoredDocument) -> Result<(), Error>,
) -> Result<(), Error> {
    let filter = Filter { source_id: Some(source_id.to_owned()), id: None };
    let mut result = Ok(());
    store.documents(&filter, |document| {
        result = each(document);
        result.is_ok()
    })?;
    result
}

/// A file of the same page, or of the same index, was written by this program for a manifest that is lost.
fn refuse_to_overwrite(
    root: &Path,
    directory: &Directory,
    layout: &Layout,
    plan: &Plan,
) -> Result<(), Error> {
    let mut obstacles = BTreeSet::new();
    for space in layout.spaces.values() {
        if directory.is_obstructed(&space.folder)? {
            obstacles.insert(space.folder.as_str());
        }
    }
    for file in plan.unclaimed.iter().chain(&plan.respelled) {
        if !obstacles.contains(manifest::folder(file))
            && let Some(head) = directory.head(file)?
            && !is_written_for(file, &head, layout)
        {
            obstacles.insert(file);
        }
    }
    let Some(first) = obstacles.first() else { return Ok(()) };
    let path = root.join(first);
    let more = match obstacles.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(Error::Usage(format!(
        "{path}{more} would be overwritten and is not kai's; no file was written. Move it away, or name another \
         directory with --markdown",
        path = path.display()
    )))
}

fn is_written_for(file: &str, head: &str, layout: &Layout) -> bool {
    let field = |name| front_matter::field(head, name);
    let name = file.rsplit('/').next().unwrap_or_default();
    match (names::id_in(name), field("id"), field("web_url"), field("space_key")) {
        (Some(id), Some(found), Some(web_url), _) => {
            names::id_in(&names::page_file("", &found)) == Some(id)
                && layout.sites.contains(layout::site(&web_url))
        }
        (None, None, None, Some(key)) => layout.spaces.get(&key).is_some_and(|space| space.index() == file),
        _ => false,
    }
}
