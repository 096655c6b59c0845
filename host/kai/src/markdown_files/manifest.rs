//! The files that a source has in a directory: `.kai-SOURCE`, one path a line.

use std::collections::BTreeSet;

use super::directory::Directory;
use super::names;
use crate::error::Error;

const PREFIX: &str = ".kai-";

/// What a source has, or may have after a run that did not end.
pub(super) struct Manifest {
    name: String,
    pub(super) files: BTreeSet<String>,
}

impl Manifest {
    pub(super) fn read(directory: &Directory, source_id: &str) -> Result<Self, Error> {
        let name = format!("{PREFIX}{source_id}");
        let files = files(&directory.text(&name)?);
        Ok(Self { name, files })
    }

    /// The folders of all other sources, folded.
    pub(super) fn folders_of_others(&self, directory: &Directory) -> Result<BTreeSet<String>, Error> {
        let mut folders = BTreeSet::new();
        for name in directory.names("")? {
            if name.starts_with(PREFIX) && name != self.name {
                let text = directory.text(&name)?;
                folders.extend(files(&text).iter().map(|file| names::fold(folder(file))));
            }
        }
        Ok(folders)
    }

    /// Makes it hold these files. On disk when this returns, so that no file that is written after it is forgotten.
    pub(super) fn hold(&mut self, directory: &Directory, files: BTreeSet<String>) -> Result<(), Error> {
        if files == self.files {
            return Ok(());
        }
        if files.is_empty() {
            directory.remove(&self.name)?;
        } else {
            let mut text = String::new();
            for file in &files {
                text.push_str(file);
                text.push('\n');
            }
            directory.replace_durably(&self.name, text.as_bytes())?;
        }
        self.files = files;
        Ok(())
    }
}

/// The folder of a path in the directory.
pub(super) fn folder(file: &str) -> &str {
    file.split('/').next().unwrap_or_default()
}

fn files(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| is_file(line)).map(str::to_owned).collect()
}

/// Whoever wrote the manifest, a line cannot lead out of the directory, nor to what is no file of a page or an index.
fn is_file(line: &str) -> bool {
    let Some((folder, file)) = line.split_once('/') else { return false };
    let named = !folder.is_empty() && folder != "." && folder != "..";
    let plain = !file.contains('/') && !line.contains(['\\', ':']) && !line.contains(char::is_control);
    named && plain && (file == names::INDEX || names::id_in(file).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_leads_out_of_the_directory_or_to_what_is_no_page() {
        let text = "ENG/A-1.md\nENG/2.md\nENG/index.md\n../A-1.md\n./A-1.md\n/A-1.md\nENG/../A-1.md\nA-1.md\n\
                    ENG/notes.md\nENG/A-1.txt\nC:/A-1.md\nENG\\..\\x/A-1.md\nENG/../../A-1.md\n\nENG/\n";
        assert_eq!(
            files(text),
            BTreeSet::from(["ENG/A-1.md", "ENG/2.md", "ENG/index.md"].map(str::to_owned))
        );
    }
}
