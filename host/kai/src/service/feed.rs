//! Wakes those who follow the changes of a tenant when there may be some.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// One bell a tenant, so that nobody is woken by what others do; and one for the administration.
#[derive(Clone, Default)]
pub(crate) struct Feed {
    bells: Arc<Mutex<HashMap<Option<String>, watch::Sender<()>>>>,
}

impl Feed {
    /// To be taken before the changes are looked at: what comes after that look then rings.
    pub(crate) fn follow(&self, tenant_id: Option<&str>) -> watch::Receiver<()> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        let mut receiver = bells.entry(tenant_id.map(str::to_owned)).or_default().subscribe();
        receiver.mark_unchanged();
        receiver
    }

    pub(crate) fn ring(&self, tenant_id: &str) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in [Some(tenant_id.to_owned()), None].iter().filter_map(|whose| bells.get(whose)) {
            bell.send_replace(());
        }
    }
}
