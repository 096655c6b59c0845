//! Connections that only read, so that nobody who reads waits for what a sync writes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::access_key::KeyDigest;
use crate::store::{SharedStore, SqliteStore, StoreError, StoredKey};

/// Reading is work of the processor and of the disk: more at once make none of it faster.
const CONNECTIONS: usize = 8;

/// Of those, one tenant has so many at once, so that there are always some for others.
const CONNECTIONS_PER_TENANT: usize = 3;

/// Connections for reading, shared fairly.
#[derive(Clone)]
pub(crate) struct Readers {
    idle: Arc<Mutex<Vec<SqliteStore>>>,
    free: Arc<Semaphore>,
    tenants: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    /// Whoever is not let in yet waits for nobody's reading.
    keys: SharedStore<SqliteStore>,
}

impl Readers {
    pub(crate) fn open(data: &Path) -> Result<Self, StoreError> {
        let connections: Vec<SqliteStore> =
            (0..CONNECTIONS).map(|_| SqliteStore::open_for_reading(data)).collect::<Result<_, _>>()?;
        Ok(Self {
            idle: Arc::new(Mutex::new(connections)),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            tenants: Arc::default(),
            keys: SharedStore::new(SqliteStore::open_for_reading(data)?),
        })
    }

    /// The key with this digest.
    pub(crate) async fn key_with(&self, digest: KeyDigest) -> Result<Option<StoredKey>, Problem> {
        Ok(self.keys.with(move |store| store.key_with(digest)).await?)
    }

    /// Reads for a tenant, or for the administration where there is none.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        tenant_id: Option<&str>,
        work: impl FnOnce(&SqliteStore) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, Problem> {
        let turns = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            let turns = tenants.entry(tenant_id.unwrap_or_default().to_owned());
            Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(CONNECTIONS_PER_TENANT))))
        };
        // Both live as long as the work, also where nobody waits for it any more.
        let turn = turns.acquire_owned().await.map_err(Problem::internal)?;
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(Problem::internal)?;
        let idle = Arc::clone(&self.idle);
        let task = tokio::task::spawn_blocking(move || {
            let _held = (turn, permit);
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(store) = taken else {
                return Err(StoreError::Database("all connections for reading are gone".to_owned()));
            };
            let result = work(&store);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(store);
            result
        });
        Ok(task.await.map_err(Problem::internal)??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_key::AccessKey;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    struct Scene {
        readers: Readers,
        key: AccessKey,
        _directory: tempfile::TempDir,
    }

    fn scene() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(directory.path()).unwrap();
        let key = AccessKey::generate().unwrap();
        store.add_key("1", "key", None, key.digest()).unwrap();
        Scene { readers: Readers::open(directory.path()).unwrap(), key, _directory: directory }
    }

    /// Reads of each of these that go on until this is dropped; the number of those under way.
    fn slow_reads(
        readers: &Readers,
        whose: &[Option<&str>],
        each: usize,
    ) -> (Arc<AtomicUsize>, mpsc::Sender<()>) {
        let (end, ended) = mpsc::channel::<()>();
        let (ended, under_way) = (Arc::new(Mutex::new(ended)), Arc::new(AtomicUsize::new(0)));
        for tenant_id in whose {
            for _ in 0..each {
                let (readers, tenant_id) = (readers.clone(), tenant_id.map(str::to_owned));
                let (ended, under_way) = (Arc::clone(&ended), Arc::clone(&under_way));
                tokio::spawn(async move {
                    let work = move |_: &SqliteStore| {
                        under_way.fetch_add(1, Ordering::SeqCst);
                        ended.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
                        Ok(())
                    };
                    readers.read(tenant_id.as_deref(), work).await.unwrap();
                });
            }
        }
        (under_way, end)
    }

    async fn until(under_way: &AtomicUsize, count: usize) {
        while under_way.load(Ordering::SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Those who may not begin do not.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(under_way.load(Ordering::SeqCst), count);
    }

    #[tokio::test]
    async fn a_tenant_that_reads_much_and_slowly_leaves_connections_to_others() {
        let scene = scene();
        let (under_way, end) = slow_reads(&scene.readers, &[Some("slow")], 500);
        until(&under_way, CONNECTIONS_PER_TENANT).await;
        assert_eq!(scene.readers.free.available_permits(), CONNECTIONS - CONNECTIONS_PER_TENANT);
        for tenant_id in [Some("other"), None] {
            scene.readers.read(tenant_id, |store| store.last_change()).await.unwrap();
        }
        drop(end);
        scene.readers.read(Some("slow"), |store| store.last_change()).await.unwrap();
        // A permit goes back after its connection, never before.
        while scene.readers.free.available_permits() < CONNECTIONS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(scene.readers.idle.lock().unwrap().len(), CONNECTIONS);
    }

    /// Keys used to be read like what the administration reads, and nobody was let in while that was slow.
    #[tokio::test]
    async fn who_is_let_in_waits_for_nobody() {
        let scene = scene();
        let everybody = [None, Some("a"), Some("b"), Some("c")];
        let (under_way, _end) = slow_reads(&scene.readers, &everybody, 10);
        until(&under_way, CONNECTIONS).await;
        assert_eq!(scene.readers.key_with(scene.key.digest()).await.unwrap().unwrap().id, "1");
        assert_eq!(scene.readers.key_with([0; 32]).await.unwrap(), None);
    }
}
