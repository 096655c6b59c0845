//! A store that many tasks use: the spaces of a run, and the runs of many sources.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::StoreError;

/// Where the work on a store is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    BlockingThread,
    CallersThread,
}

/// One store for many tasks, one at a time and in the order in which they ask. Clones are handles to the same store; it
/// is closed when the last is dropped.
#[derive(Debug)]
pub struct SharedStore<S> {
    store: Arc<Mutex<S>>,
    place: Place,
}

impl<S> Clone for SharedStore<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), place: self.place }
    }
}

impl<S: Send + 'static> SharedStore<S> {
    /// For a store that waits for a disk or a network: its work is kept off the threads that drive the runtime.
    pub fn new(store: S) -> Self {
        Self { store: Arc::new(Mutex::new(store)), place: Place::BlockingThread }
    }

    /// For a store in memory: its work is done where it is asked for, in the order in which it is asked for.
    pub fn in_place(store: S) -> Self {
        Self { store: Arc::new(Mutex::new(store)), place: Place::CallersThread }
    }

    /// Runs `work` with the store. Work that was begun comes to its end also where nobody waits for it any more, and
    /// then before that of whoever asks next.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::Database`] where it panicked.
    pub async fn with<R, E>(&self, work: impl FnOnce(&mut S) -> Result<R, E> + Send + 'static) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let mut store = Arc::clone(&self.store).lock_owned().await;
        match self.place {
            Place::CallersThread => work(&mut store),
            Place::BlockingThread => {
                // Each method of a store is a transaction: one that panics changes nothing.
                let task = tokio::task::spawn_blocking(move || work(&mut store));
                task.await.map_err(|error| StoreError::Database(error.to_string()))?
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn work_that_nobody_waits_for_ends_before_the_next() {
        let store = SharedStore::new(0);
        let (begun, begins) = mpsc::channel();
        let work = store.with(move |number| {
            begun.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            *number += 1;
            Ok::<_, StoreError>(())
        });
        // Begun, and dropped, as the spaces of a run are when another one shows that there is no hope.
        assert!(work.now_or_never().is_none());
        begins.recv().unwrap();
        assert_eq!(store.with(|number| Ok::<_, StoreError>(*number)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_panic_in_one_task_leaves_the_store_to_the_others() {
        let store = SharedStore::new(1);
        let panicked = store.with(|_| -> Result<(), StoreError> { panic!("a fault of the test") }).await;
        assert!(matches!(panicked, Err(StoreError::Database(_))));
        assert_eq!(store.with(|number| Ok::<_, StoreError>(*number)).await.unwrap(), 1);
    }

    #[test]
    fn a_store_in_memory_is_used_without_a_runtime() {
        let store = SharedStore::in_place(7);
        let seen = store.with(|number| Ok::<_, StoreError>(*number)).now_or_never();
        assert_eq!(seen.unwrap().unwrap(), 7);
    }
}
