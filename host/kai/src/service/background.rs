//! Threads of their own, of low priority, for what nobody waits for: syncs and the indexing of words. On the threads that
//! answer requests, a page that is converted would hold up everybody.

use tokio::runtime::{Builder, Handle, Runtime};

/// Of a processor that both want, a request gets about nine tenths.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// The runtime; what is left in it ends with this value.
pub(super) struct Background {
    /// There until it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Background {
    pub(super) fn start() -> std::io::Result<Self> {
        let mut runtime = Builder::new_multi_thread();
        runtime.enable_all().thread_name("kai-background");
        // Elsewhere, this would be a matter of the whole process.
        #[cfg(target_os = "linux")]
        runtime.on_thread_start(|| {
            // Where it is refused, the threads are as all others.
            rustix::process::nice(NICENESS).ok();
        });
        let runtime = runtime.build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Not waited for: it may be dropped where nothing may wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_threads_have_a_low_priority_and_others_keep_theirs() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let background = Background::start().unwrap();
        let handle = background.handle();
        let before = own();
        assert_eq!(handle.spawn(async move { own() }).await.unwrap(), before + NICENESS);
        assert_eq!(handle.spawn_blocking(own).await.unwrap(), before + NICENESS);
        assert_eq!(own(), before);
    }
}
