//! Connections that only read, so that nobody who reads waits for what a sync writes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::store::{SqliteStore, StoreError};

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
}

impl Readers {
    pub(crate) fn open(data: &Path) -> Result<Self, StoreError> {
        let connections: Vec<SqliteStore> =
            (0..CONNECTIONS).map(|_| SqliteStore::open_for_reading(data)).collect::<Result<_, _>>()?;
        Ok(Self {
            idle: Arc::new(Mutex::new(connections)),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            tenants: Arc::default(),
        })
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
