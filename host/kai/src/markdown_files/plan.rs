//! What becomes of the files of the last run. Nothing here touches a file.
//!
//! The renames come first, then every wanted file is written, then come the removals. A file is never removed for having
//! a new name: on a file system without case or normalisation the old name may lead to the very file that is wanted.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::folder;
use super::names;

/// Leads from the files that a source has, or may have, to those that it shall have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// From the old name to the new one. Nothing may be under the old one, and an older state under the new one.
    pub(super) renames: Vec<(String, String)>,
    /// Wanted, and not known to be there: what stands there is somebody else's.
    pub(super) unclaimed: Vec<String>,
    /// Wanted, and known under a name that some file systems do not tell from it: there the very file that is known,
    /// elsewhere maybe somebody else's.
    pub(super) respelled: Vec<String>,
    /// Of pages and spaces that are gone.
    pub(super) removals: Vec<String>,
    /// Not wanted any more, should they be empty.
    pub(super) folders: Vec<String>,
}

impl Plan {
    pub(super) fn new(known: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Self {
        let files: BTreeMap<Identity<'_>, &String> =
            wanted.iter().map(|file| (Identity::of(file), file)).collect();
        let mut plan = Self::default();
        let mut claimed = BTreeSet::new();
        for old in known.difference(wanted) {
            match files.get(&Identity::of(old)) {
                Some(new) => {
                    if names::fold(old) == names::fold(new) {
                        claimed.insert(*new);
                    }
                    plan.renames.push((old.clone(), (*new).clone()));
                }
                None => plan.removals.push(old.clone()),
            }
        }
        plan.unclaimed = wanted.difference(known).filter(|file| !claimed.contains(file)).cloned().collect();
        plan.respelled = claimed.into_iter().cloned().collect();
        let wanted: BTreeSet<&str> = wanted.iter().map(|file| folder(file)).collect();
        let known: BTreeSet<&str> = known.iter().map(|file| folder(file)).collect();
        plan.folders = known.difference(&wanted).map(|&folder| folder.to_owned()).collect();
        plan
    }
}

/// What a file is of. Two files are never of the same, and names of different ones differ on every file system.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity<'a> {
    Page(&'a str),
    /// By its folder, folded.
    Index(String),
}

impl<'a> Identity<'a> {
    fn of(file: &'a str) -> Self {
        let (folder, name) = file.split_once('/').unwrap_or(("", file));
        names::id_in(name).map_or_else(|| Self::Index(names::fold(folder)), Self::Page)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::markdown_files::layout::Layout;
    use crate::markdown_files::tests::{document, name};

    /// Files by their names as they are, or, as on macOS and Windows, by folded ones.
    #[derive(Debug, Clone)]
    struct Files {
        folds: bool,
        /// By that name, the name that it was given and what it holds.
        files: BTreeMap<String, (String, String)>,
    }

    #[derive(Debug, Clone)]
    enum Operation {
        Rename(String, String),
        Write(String, String),
        Remove(String),
    }

    impl Files {
        fn new(folds: bool) -> Self {
            Self { folds, files: BTreeMap::new() }
        }

        fn key(&self, file: &str) -> String {
            if self.folds { names::fold(file) } else { file.to_owned() }
        }

        fn apply(&mut self, operation: &Operation) {
            match operation {
                Operation::Rename(from, to) => {
                    if let Some((_, content)) = self.files.remove(&self.key(from)) {
                        self.files.insert(self.key(to), (to.clone(), content));
                    }
                }
                Operation::Write(file, content) => {
                    self.files.insert(self.key(file), (file.clone(), content.clone()));
                }
                Operation::Remove(file) => {
                    self.files.remove(&self.key(file));
                }
            }
        }

        /// How many files each page has.
        fn pages(&self) -> BTreeMap<&str, usize> {
            let mut pages = BTreeMap::new();
            for (file, _) in self.files.values() {
                if let Identity::Page(id) = Identity::of(file) {
                    *pages.entry(id).or_default() += 1;
                }
            }
            pages
        }

        fn contents(&self) -> BTreeMap<String, String> {
            self.files.values().cloned().collect()
        }
    }

    /// Id, title and space of each page.
    type Pages = Vec<(&'static str, &'static str, &'static str)>;

    /// What each file holds: what it is of.
    fn wanted(pages: &Pages) -> BTreeMap<String, String> {
        let mut layout = Layout::default();
        for (id, title, space) in pages {
            layout.add(name(id, title, space));
        }
        layout.name_folders(BTreeSet::new());
        let mut wanted: BTreeMap<String, String> =
            layout.spaces.iter().map(|(key, space)| (space.index(), format!("pages of {key}"))).collect();
        for (id, title, space) in pages {
            let path = layout.path(&document(id, title, space)).unwrap();
            wanted.insert(path, format!("page {id}, {title}, {space}"));
        }
        assert!(wanted.keys().eq(&layout.files()));
        wanted
    }

    /// In the order in which they are carried out.
    fn operations(plan: &Plan, wanted: &BTreeMap<String, String>) -> Vec<Operation> {
        let renames = plan.renames.iter().map(|(from, to)| Operation::Rename(from.clone(), to.clone()));
        let writes = wanted.iter().map(|(file, content)| Operation::Write(file.clone(), content.clone()));
        let removals = plan.removals.iter().map(|file| Operation::Remove(file.clone()));
        renames.chain(writes).chain(removals).collect()
    }

    /// Runs until all is done, or a crash after so many operations.
    fn run(files: &mut Files, manifest: &mut BTreeSet<String>, pages: &Pages, crash: Option<usize>) {
        let wanted = wanted(pages);
        let names: BTreeSet<String> = wanted.keys().cloned().collect();
        let plan = Plan::new(manifest, &names);
        for file in &plan.unclaimed {
            assert!(!files.files.contains_key(&files.key(file)), "{file} was forgotten: {files:?}");
        }
        let before = files.clone();
        let before = before.pages();
        let operations = operations(&plan, &wanted);
        let known: BTreeSet<String> = manifest.union(&names).cloned().collect();
        for operation in operations.iter().take(crash.unwrap_or(operations.len())) {
            files.apply(operation);
            for (id, _, _) in pages {
                let now = files.pages().get(id).copied().unwrap_or(0);
                let earlier = before.get(id).copied().unwrap_or(0);
                assert!(now <= 1 && now >= earlier, "page {id} is there {now} times after {operation:?}");
            }
        }
        *manifest = if crash.is_none() { names } else { known };
        if crash.is_none() {
            assert_eq!(files.contents(), wanted);
        }
    }

    #[test]
    fn a_rename_that_changes_only_case_or_normalisation_loses_no_file() {
        for folds in [true, false] {
            let (mut files, mut manifest) = (Files::new(folds), BTreeSet::new());
            for pages in [
                vec![("1", "Foo", "ENG"), ("2", "Straße", "ENG")],
                vec![("1", "foo", "ENG"), ("2", "STRASSE", "ENG")],
                vec![("1", "foo", "Eng"), ("2", "Strasse", "Eng")],
                vec![("1", "FOO", "eng")],
            ] {
                run(&mut files, &mut manifest, &pages, None);
            }
        }
        let manifest = BTreeSet::from(["ENG/Cafe\u{301}-1.md".to_owned()]);
        let wanted = BTreeSet::from(["ENG/Caf\u{E9}-1.md".to_owned()]);
        let plan = Plan::new(&manifest, &wanted);
        assert_eq!(plan.renames, [("ENG/Cafe\u{301}-1.md".to_owned(), "ENG/Caf\u{E9}-1.md".to_owned())]);
        assert_eq!((plan.removals.len(), plan.unclaimed.len()), (0, 0));
    }

    #[test]
    fn a_folder_whose_case_changes_keeps_its_index() {
        let plan = Plan::new(
            &BTreeSet::from(["Eng/index.md", "Eng/A-1.md", "OPS/index.md", "OPS/B-2.md"].map(str::to_owned)),
            &BTreeSet::from(["ENG/index.md", "ENG/A-1.md"].map(str::to_owned)),
        );
        assert_eq!(
            plan,
            Plan {
                renames: vec![
                    ("Eng/A-1.md".into(), "ENG/A-1.md".into()),
                    ("Eng/index.md".into(), "ENG/index.md".into()),
                ],
                unclaimed: vec![],
                respelled: vec!["ENG/A-1.md".into(), "ENG/index.md".into()],
                removals: vec!["OPS/B-2.md".into(), "OPS/index.md".into()],
                folders: vec!["Eng".into(), "OPS".into()],
            }
        );
    }

    fn pages() -> impl Strategy<Value = Pages> {
        let titles = prop::sample::select(vec!["Foo", "foo", "FOO", "Cafe\u{301}", "CAF\u{C9}", "Bar", ""]);
        let spaces = prop::sample::select(vec!["ENG", "eng", "Eng", "OPS", "CON", "a/b", "a:b"]);
        let page = prop::option::of((titles, spaces));
        prop::collection::vec(page, 4).prop_map(|pages| {
            let with_id = ["1", "2", "3", "4"].into_iter().zip(pages);
            with_id.filter_map(|(id, page)| page.map(|(title, space)| (id, title, space))).collect()
        })
    }

    proptest! {
        #[test]
        fn whatever_changes_and_wherever_runs_end_every_page_is_there_once(
            folds: bool,
            runs in prop::collection::vec((pages(), prop::option::of(0..12_usize)), 1..8),
            last in pages(),
        ) {
            let (mut files, mut manifest) = (Files::new(folds), BTreeSet::new());
            for (pages, crash) in &runs {
                run(&mut files, &mut manifest, pages, *crash);
            }
            run(&mut files, &mut manifest, &last, None);
        }
    }
}
