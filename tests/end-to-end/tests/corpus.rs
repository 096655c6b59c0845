//! Real pages (`../shared/corpus`, where it is present): each converts through the component, and a site that serves
//! them syncs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::path::Path;

use confluence_site::Site;
use kai_host::StoragePage;

use support::{Tenant, assert_complete, connector};

/// Name and text of each page; none where the folder is absent.
fn pages() -> Option<Vec<(String, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is not present", folder.display());
        return None;
    };
    let mut pages: Vec<(String, String)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name != "INDEX.tsv"))
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
        })
        .collect();
    pages.sort();
    assert!(pages.len() >= 50, "{} files only", pages.len());
    Some(pages)
}

#[tokio::test]
async fn every_file_of_the_corpus_converts_through_the_component() {
    let Some(pages) = pages() else { return };
    let connector = connector().await;
    let count = pages.len();
    for (name, storage) in pages {
        let page = StoragePage {
            id: "1".into(),
            title: name.clone(),
            space_key: "ENG".into(),
            base_url: "https://acme.atlassian.net".into(),
            storage,
        };
        let converted = connector.convert(page).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(converted.markdown.starts_with("# ") && converted.markdown.ends_with('\n'), "{name}");
    }
    println!("{count} files converted");
}

#[tokio::test]
async fn a_site_that_serves_the_corpus_syncs() {
    let Some(pages) = pages() else { return };
    let site = Site::builder().spaces(1).pages(0).start().await.unwrap();
    site.with_state(|state| {
        for (name, storage) in &pages {
            state.create_page("ENG", name, Some(storage)).unwrap();
        }
    });
    let tenant = Tenant::new(&site).await;
    let outcome = tenant.sync().await;
    assert_complete(&outcome);
    assert_eq!(outcome.summary.documents.failed, 0);
    tenant.assert_equals(&site);
    assert_eq!(tenant.documents().len(), pages.len());
}
