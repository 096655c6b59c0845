//! The documents of a source as files: `SPACE/Title-ID.md`, with YAML front matter.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::store::{Filter, SqliteStore, StoredDocument};

/// Longest title in a file name, in bytes: with id and suffix it fits the 255 bytes of common file systems.
const LONGEST_TITLE: usize = 120;

/// What was done to the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Written {
    /// New or changed.
    pub written: u64,
    /// As they were; not touched.
    pub unchanged: u64,
    /// Of documents that are gone, or that moved or were renamed.
    pub removed: u64,
}

/// Makes `directory` hold exactly the documents of a source. Files that this program did not write are left alone.
///
/// # Errors
/// The store or the directory is not usable; what was written before stays.
pub fn write(store: &SqliteStore, source_id: &str, directory: &Path) -> Result<Written, Error> {
    let manifest = Manifest::read(directory, source_id)?;
    let mut counts = Written::default();
    let mut current = BTreeSet::new();
    let mut failed = None;
    let filter = Filter { source_id: Some(source_id.to_owned()), id: None };
    store.documents(&filter, |document| {
        let relative = relative_path(&document);
        match write_one(&directory.join(&relative), &document) {
            Ok(true) => counts.written += 1,
            Ok(false) => counts.unchanged += 1,
            Err(error) => failed = Some(error),
        }
        current.insert(relative);
        failed.is_none()
    })?;
    if let Some(error) = failed {
        // The next run still knows every file that is there.
        manifest.write(manifest.files.iter().chain(&current))?;
        return Err(error);
    }
    for gone in manifest.files.difference(&current) {
        let path = directory.join(gone);
        match fs::remove_file(&path) {
            Ok(()) => counts.removed += 1,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::File { path, error }),
        }
        // Only empty directories go, and whether they do is of no consequence.
        if let Some(space) = path.parent().filter(|space| *space != directory) {
            fs::remove_dir(space).ok();
        }
    }
    if manifest.files != current {
        manifest.write(&current)?;
    }
    Ok(counts)
}

/// The files that a source has in a directory, one relative path a line.
struct Manifest {
    path: PathBuf,
    files: BTreeSet<String>,
}

impl Manifest {
    fn read(directory: &Path, source_id: &str) -> Result<Self, Error> {
        let path = directory.join(format!(".kai-{source_id}"));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::File { path, error }),
        };
        // Whoever wrote the manifest, a line cannot lead out of the directory.
        let inside = |line: &&str| {
            let mut parts = line.split('/');
            parts.clone().count() == 2 && parts.all(|part| !part.is_empty() && part != ".." && part != ".")
        };
        let files = text.lines().filter(inside).map(str::to_owned).collect();
        Ok(Self { path, files })
    }

    fn write<'a>(&self, files: impl IntoIterator<Item = &'a String>) -> Result<(), Error> {
        let mut text = String::new();
        for file in files {
            text.push_str(file);
            text.push('\n');
        }
        replace(&self.path, text.as_bytes())
    }
}

/// Whether the file had to be written.
fn write_one(path: &Path, document: &StoredDocument) -> Result<bool, Error> {
    let text = front_matter(document) + &document.content;
    if fs::read(path).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(false);
    }
    replace(path, text.as_bytes())?;
    Ok(true)
}

/// Writes beside the file and renames: whoever reads sees the old text or the new.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::File { path: path.to_owned(), error };
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kai-").suffix(".tmp");
    // Documents are for others to read, unlike most temporary files.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.tempfile_in(directory).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn relative_path(document: &StoredDocument) -> String {
    let title = safe_name(&document.title, LONGEST_TITLE);
    let space = safe_name(&document.space_key, LONGEST_TITLE);
    let space = if space.is_empty() { "space" } else { &space };
    if title.is_empty() {
        format!("{space}/{}.md", document.id)
    } else {
        format!("{space}/{title}-{}.md", document.id)
    }
}

/// A name that every file system takes: no separators, no reserved characters, no dot or space at its ends.
fn safe_name(text: &str, longest: usize) -> String {
    let mut name = String::new();
    for c in text.chars() {
        let c = match c {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '-',
            c if c.is_control() || c.is_whitespace() => ' ',
            c => c,
        };
        if name.len() + c.len_utf8() > longest {
            break;
        }
        if !(c == ' ' && name.ends_with(' ')) {
            name.push(c);
        }
    }
    name.trim_matches([' ', '.']).to_owned()
}

fn front_matter(document: &StoredDocument) -> String {
    // A JSON string is a YAML string, whatever it holds.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut lines = vec![
        "---".to_owned(),
        format!("id: {}", quoted(&document.id)),
        format!("title: {}", quoted(&document.title)),
        format!("web_url: {}", quoted(&document.web_url)),
        format!("space_key: {}", quoted(&document.space_key)),
        format!("version_number: {}", document.version_number),
    ];
    if let Some(created_at) = &document.created_at {
        lines.push(format!("created_at: {}", quoted(created_at)));
    }
    lines.push(format!("modified_at: {}", quoted(&document.modified_at)));
    lines.push("---\n\n".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(title: &str) -> StoredDocument {
        StoredDocument {
            source_id: "s".into(),
            id: "42".into(),
            title: title.into(),
            mime_type: "text/markdown".into(),
            content: "# T\n".into(),
            modified_at: "2026-01-02T03:04:05.000Z".into(),
            web_url: "https://a.example/42".into(),
            space_key: "~712020ada".into(),
            version_number: 3,
            created_at: None,
            created_by_display_name: None,
        }
    }

    #[test]
    fn names_are_safe_on_every_file_system() {
        for (title, expected) in [
            ("Plain title", "Plain title-42.md"),
            ("a/b\\c:d", "a-b-c-d-42.md"),
            ("../../etc/passwd", "-..-etc-passwd-42.md"),
            ("CON", "CON-42.md"),
            ("tab\tand\nline", "tab and line-42.md"),
            (" ... ", "42.md"),
            ("", "42.md"),
        ] {
            assert_eq!(relative_path(&document(title)), format!("~712020ada/{expected}"), "{title:?}");
        }
        let long = relative_path(&document(&"日".repeat(500)));
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn front_matter_holds_whatever_a_title_holds() {
        let text = front_matter(&document("a: \"b\"\n--- # c"));
        assert!(text.contains("title: \"a: \\\"b\\\"\\n--- # c\"\n"), "{text}");
        assert!(text.starts_with("---\nid: \"42\"\n") && text.ends_with("\n---\n\n"));
        assert!(!text.contains("created_at"));
    }
}
