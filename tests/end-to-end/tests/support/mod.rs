//! What the end-to-end tests have in common.

// Each test binary uses its own part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

pub(crate) mod calls;
pub(crate) mod hostile;
pub(crate) mod log;
pub(crate) mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use confluence_site::Site;
use kai::source_file::Registration;
use kai::store::{Filter, SharedStore, SqliteStore, Store as _, StoredDocument};
use kai::sync::{Outcome, SyncOptions, sync};
use kai_host::{ComponentSource, Connector, Host, HostBuilder, RetryPolicy};

/// The artifact that `make component` builds.
pub(crate) fn component() -> PathBuf {
    let path = std::env::var_os("KAI_COMPONENT").map_or_else(
        || {
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
            target.join("wasm32-wasip2/component/confluence_connector.wasm")
        },
        PathBuf::from,
    );
    assert!(path.is_file(), "{} does not exist: run `make component` first", path.display());
    path
}

/// A host for local sites that does not wait long between tries.
pub(crate) fn host() -> HostBuilder {
    let mut retry = RetryPolicy::default();
    retry.backoff = Duration::from_millis(5);
    retry.longest_backoff = Duration::from_millis(20);
    Host::builder().allow_local(true).retry(retry)
}

pub(crate) async fn connector() -> Connector {
    load(&host().build().unwrap()).await
}

pub(crate) async fn load(host: &Host) -> Connector {
    host.load(ComponentSource::File(component())).await.unwrap()
}

/// The registration of the whole site.
pub(crate) fn registration(site: &Site) -> Registration {
    registration_with(site, serde_json::json!({}))
}

/// The registration of the site with other fields on top.
pub(crate) fn registration_with(site: &Site, fields: serde_json::Value) -> Registration {
    registration_at(&site.base_url(), fields)
}

/// The same of whatever answers at this address.
pub(crate) fn registration_at(base_url: &str, fields: serde_json::Value) -> Registration {
    let mut document = serde_json::json!({
        "kind": "CONFLUENCE", "base_url": base_url, "email": Site::EMAIL, "api_token": Site::TOKEN,
    });
    for (field, value) in fields.as_object().unwrap() {
        document[field] = value.clone();
    }
    Registration::parse(document.to_string().as_bytes(), None).unwrap()
}

/// A tenant: its source on a connector, and its data directory.
pub(crate) struct Tenant {
    pub(crate) connector: Connector,
    pub(crate) registration: Registration,
    pub(crate) data: tempfile::TempDir,
}

impl Tenant {
    pub(crate) async fn new(site: &Site) -> Self {
        Self::on(connector().await, registration(site))
    }

    pub(crate) fn on(connector: Connector, registration: Registration) -> Self {
        Self { connector, registration, data: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn sync(&self) -> Outcome {
        self.sync_with(SyncOptions::default()).await
    }

    pub(crate) async fn sync_full(&self) -> Outcome {
        self.sync_with(SyncOptions { full: true, confirm_removals: false }).await
    }

    pub(crate) async fn sync_with(&self, options: SyncOptions) -> Outcome {
        let session = self.connector.session(self.registration.source.clone()).unwrap();
        let store = SharedStore::new(SqliteStore::open(self.data.path()).unwrap());
        sync(&session, &self.registration, &store, options, &()).await.unwrap()
    }

    pub(crate) fn documents(&self) -> BTreeMap<String, StoredDocument> {
        let mut documents = BTreeMap::new();
        let store = SqliteStore::open_for_reading(self.data.path()).unwrap();
        store
            .documents(&Filter::default(), |document| {
                documents.insert(document.id.clone(), document);
                true
            })
            .unwrap();
        documents
    }

    /// Each space's delta token, by key.
    pub(crate) fn delta_tokens(&self) -> Vec<(String, String)> {
        let store = SqliteStore::open_for_reading(self.data.path()).unwrap();
        store.delta_tokens(&self.registration.id()).unwrap()
    }

    /// The store holds exactly what the account may see, each page in its latest version.
    #[track_caller]
    pub(crate) fn assert_equals(&self, site: &Site) {
        assert_eq!(states(self.documents().into_values()), truth(site));
    }
}

/// What a page has to be equal in, by its id: title, space, version and time of that version.
pub(crate) type States = BTreeMap<String, (String, String, u32, String)>;

/// What a store holds.
pub(crate) fn states(documents: impl Iterator<Item = StoredDocument>) -> States {
    documents.map(|d| (d.id, (d.title, d.space_key, d.version_number, d.modified_at))).collect()
}

/// What the account may see.
pub(crate) fn truth(site: &Site) -> States {
    site.with_state(|state| state.visible_pages())
        .into_iter()
        .map(|page| (page.id, (page.title, page.space_key, page.version, page.modified_at)))
        .collect()
}

/// The run came to its end.
#[track_caller]
pub(crate) fn assert_complete(outcome: &Outcome) {
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert!(outcome.summary.complete);
}
