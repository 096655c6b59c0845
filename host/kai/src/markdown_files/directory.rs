//! The directory as a run sees it: its own while the run lasts, every write whole, nothing reached through a link.
//!
//! Paths are `FOLDER/FILE`, or `FILE` for what lies beside the folders.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Error;

const LOCK: &str = ".kai.lock";
const TEMPORARY: (&str, &str) = (".kai-", ".tmp");

/// Front matter is never longer, in bytes.
const LONGEST_HEAD: u64 = 64 * 1024;

pub(super) struct Directory {
    root: PathBuf,
    _lock: File,
}

impl Directory {
    /// Creates it where it is not there, and waits for whoever writes to it.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        fs::create_dir_all(root).map_err(|error| failed(root, error))?;
        let path = root.join(LOCK);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(failed(&path, io::Error::other("is no file; remove it")));
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| failed(&path, error))?;
        match lock.lock() {
            // Some network file systems know no locks; there it is up to the user.
            Err(error) if error.kind() != ErrorKind::Unsupported => Err(failed(&path, error)),
            _ => Ok(Self { root: root.to_owned(), _lock: lock }),
        }
    }

    /// Removes what runs that did not end left half written.
    pub(super) fn remove_leftovers(&self, folder: &str) -> Result<(), Error> {
        for name in self.names(folder)? {
            if name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1) {
                let path = self.root.join(folder).join(name);
                fs::remove_file(&path).map_err(|error| failed(&path, error))?;
            }
        }
        Ok(())
    }

    /// The files of a folder, or beside the folders if it has no name.
    pub(super) fn names(&self, folder: &str) -> Result<Vec<String>, Error> {
        let path = self.root.join(folder);
        if !folder.is_empty() && !self.is_folder(folder)? {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(|error| failed(&path, error))? {
            let entry = entry.map_err(|error| failed(&path, error))?;
            // No name of ours is not UTF-8.
            if let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string())
                && kind.is_file()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Whether something else than a folder has its name: a file, or a link, wherever that leads.
    pub(super) fn is_obstructed(&self, folder: &str) -> Result<bool, Error> {
        Ok(self.found(folder)?.is_some_and(|found| !found.is_dir()))
    }

    /// What a file begins with. None if nothing is there; empty if it is no file.
    pub(super) fn head(&self, file: &str) -> Result<Option<String>, Error> {
        let Some(found) = self.found(file)? else { return Ok(None) };
        if !found.is_file() {
            return Ok(Some(String::new()));
        }
        let path = self.root.join(file);
        let mut head = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(LONGEST_HEAD).read_to_end(&mut head))
            .map_err(|error| failed(&path, error))?;
        Ok(Some(String::from_utf8_lossy(&head).into_owned()))
    }

    /// A file's whole text; none is an empty one.
    pub(super) fn text(&self, file: &str) -> Result<String, Error> {
        if !self.found(file)?.is_some_and(|found| found.is_file()) {
            return Ok(String::new());
        }
        let path = self.root.join(file);
        let bytes = fs::read(&path).map_err(|error| failed(&path, error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Makes a file hold these bytes, without touching one that does. Whether it had to be written.
    pub(super) fn write(&self, file: &str, bytes: &[u8]) -> Result<bool, Error> {
        let found = self.found(file)?;
        let as_long = found.is_some_and(|found| found.is_file() && found.len() == bytes.len() as u64);
        let path = self.root.join(file);
        if as_long && fs::read(&path).is_ok_and(|found| found == bytes) {
            return Ok(false);
        }
        self.stage(file, bytes)?.persist(&path).map_err(|error| failed(&path, error.error))?;
        Ok(true)
    }

    /// Writes a file that must outlast a loss of power.
    pub(super) fn replace_durably(&self, file: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.root.join(file);
        let staged = self.stage(file, bytes)?;
        staged.as_file().sync_all().map_err(|error| failed(&path, error))?;
        staged.persist(&path).map_err(|error| failed(&path, error.error))?;
        // The name lies in the directory. Systems that cannot open one keep names by themselves.
        if let Ok(directory) = File::open(&self.root) {
            directory.sync_all().ok();
        }
        Ok(())
    }

    /// Gives a file another name, and replaces what had it. Where both names are of the same file to the file system,
    /// the file stays, under one or the other. Does nothing if there is no file.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        if self.is_ours(from)? {
            self.make_folder_of(to)?;
            let path = self.root.join(to);
            fs::rename(self.root.join(from), &path).map_err(|error| failed(&path, error))?;
        }
        Ok(())
    }

    /// Whether there was a file to remove.
    pub(super) fn remove(&self, file: &str) -> Result<bool, Error> {
        let there = self.is_ours(file)?;
        if there {
            let path = self.root.join(file);
            fs::remove_file(&path).map_err(|error| failed(&path, error))?;
        }
        Ok(there)
    }

    /// Only empty folders go, and whether they do is of no consequence. Links to folders do not.
    pub(super) fn remove_folder(&self, folder: &str) {
        fs::remove_dir(self.root.join(folder)).ok();
    }

    /// Writes beside the file, to be renamed: whoever reads sees the old text or the new.
    fn stage(&self, file: &str, bytes: &[u8]) -> Result<NamedTempFile, Error> {
        self.make_folder_of(file)?;
        let path = self.root.join(file);
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1);
        // Documents are for others to read, unlike most temporary files.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut staged =
            builder.tempfile_in(path.parent().unwrap_or(&self.root)).map_err(|error| failed(&path, error))?;
        staged.write_all(bytes).map_err(|error| failed(&path, error))?;
        Ok(staged)
    }

    fn make_folder_of(&self, file: &str) -> Result<(), Error> {
        let Some((folder, _)) = file.split_once('/') else { return Ok(()) };
        let path = self.root.join(folder);
        match self.found(folder)? {
            Some(found) if found.is_dir() => Ok(()),
            Some(_) => Err(failed(&path, ErrorKind::NotADirectory.into())),
            None => fs::create_dir(&path).map_err(|error| failed(&path, error)),
        }
    }

    /// Whether there is a file, or a link in place of one, in a folder of this very directory.
    fn is_ours(&self, file: &str) -> Result<bool, Error> {
        if let Some((folder, _)) = file.split_once('/')
            && !self.is_folder(folder)?
        {
            return Ok(false);
        }
        Ok(self.found(file)?.is_some_and(|found| !found.is_dir()))
    }

    fn is_folder(&self, folder: &str) -> Result<bool, Error> {
        Ok(self.found(folder)?.is_some_and(|found| found.is_dir()))
    }

    fn found(&self, name: &str) -> Result<Option<fs::Metadata>, Error> {
        let path = self.root.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) => Ok(Some(found)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::File { path: path.to_owned(), error }
}
