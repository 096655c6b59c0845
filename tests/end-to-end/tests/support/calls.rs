//! Calls by outcome, as the host's metrics tell them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Counts calls by how they ended. A sync takes a page that made the connector crash for a page that failed; here it is
/// a crash.
#[derive(Default)]
pub(crate) struct Calls(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Calls {
    /// Calls by outcome, in the words of the host's own metric.
    pub(crate) fn by_outcome(&self) -> BTreeMap<String, u64> {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.iter().map(|(outcome, count)| (outcome.clone(), count.load(Ordering::Relaxed))).collect()
    }
}

impl Recorder for Calls {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let outcome = key.labels().find(|label| label.key() == "outcome");
        let Some(outcome) = outcome.filter(|_| key.name() == "kai_call_seconds") else {
            return Histogram::noop();
        };
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = counters.entry(outcome.value().to_owned()).or_default();
        Histogram::from_arc(Arc::new(Observations(Arc::clone(counter))))
    }
}

struct Observations(Arc<AtomicU64>);

impl HistogramFn for Observations {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
