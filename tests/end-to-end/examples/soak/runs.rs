//! The tenants' runs: which, when, and whether what they came to is explained by what was done to their sites.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use kai::error::Error;
use kai::store::{SharedStore, SqliteStore, StoreError};
use kai::sync::{Outcome, SyncOptions, sync};
use kai_host::{CallError, Connector, Error as ConnectorError};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::Failure;
use crate::report::Findings;
use crate::world::{Tenant, World};

/// Runs at once: more than two cores have use for.
pub(crate) const AT_ONCE: usize = 32;
/// Of a hundred runs, so many compare everything ...
const FULL: u32 = 15;
/// ... and so many are given up half-way, as by an embedder who drops the future.
const GIVEN_UP: u32 = 3;
/// After an error. While a site is not to be asked its tenants' runs end at once; without a rest they would be most of
/// all runs.
const REST: Duration = Duration::from_millis(100);
/// A run that was given up may write its last batch yet.
const LAST_BATCH: Duration = Duration::from_secs(10);

/// What the runs came to.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Counted>);

#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    /// Runs by what they were.
    pub(crate) delta: u64,
    pub(crate) full: u64,
    /// By how they ended.
    pub(crate) clean: u64,
    pub(crate) given_up: u64,
    /// Errors by kind.
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) upserted: u64,
    pub(crate) removed: u64,
    pub(crate) failed: u64,
}

impl Counted {
    pub(crate) fn runs(&self) -> u64 {
        self.clean + self.given_up + self.errors.values().sum::<u64>()
    }
}

impl Tally {
    pub(crate) fn counted(&self) -> Counted {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, add: impl FnOnce(&mut Counted)) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn ended(&self, outcome: &Outcome) {
        let documents = outcome.summary.documents;
        self.count(|counted| {
            match outcome.summary.mode {
                kai::summary::Mode::Full => counted.full += 1,
                kai::summary::Mode::Delta => counted.delta += 1,
            }
            counted.upserted += documents.upserted;
            counted.removed += documents.removed;
            counted.failed += documents.failed;
            match &outcome.error {
                None => counted.clean += 1,
                Some(error) => *counted.errors.entry(kind(error).0).or_default() += 1,
            }
        });
    }
}

/// The kind of an error, and whether the faults of a site explain it.
fn kind(error: &Error) -> (&'static str, bool) {
    match error {
        Error::RemovalsRefused { .. } => ("removals refused", true),
        Error::Call { error: CallError::Connector(error), .. } => match error {
            ConnectorError::RateLimited(_) => ("rate limited", true),
            ConnectorError::Unavailable(_) => ("unavailable", true),
            ConnectorError::Malformed(_) => ("malformed", true),
            ConnectorError::StaleCursor => ("stale cursor", true),
            ConnectorError::TooLarge(_) => ("too large", false),
            ConnectorError::Authentication(_) => ("authentication", false),
            ConnectorError::Forbidden(_) => ("forbidden", false),
            ConnectorError::NotFound(_) => ("not found", false),
            ConnectorError::InvalidSource(_) => ("invalid source", false),
        },
        Error::Call { error: CallError::Crashed(_), .. } => ("crash", false),
        Error::Call { error: CallError::Limit(_), .. } => ("limit", false),
        Error::Call { error: CallError::Busy, .. } => ("busy", false),
        Error::Call { .. } => ("host", false),
        Error::Implausible(_) => ("implausible", false),
        Error::Store(_) => ("store", false),
        _ => ("other", false),
    }
}

/// What the workers have in common.
pub(crate) struct Runs {
    connector: Connector,
    world: Arc<World>,
    tally: Arc<Tally>,
    findings: Arc<Findings>,
    waiting: Mutex<Waiting>,
}

impl Runs {
    pub(crate) fn new(
        connector: &Connector,
        world: &Arc<World>,
        tally: &Arc<Tally>,
        findings: &Arc<Findings>,
    ) -> Arc<Self> {
        Arc::new(Self {
            connector: connector.clone(),
            world: Arc::clone(world),
            tally: Arc::clone(tally),
            findings: Arc::clone(findings),
            waiting: Mutex::new(Waiting { tenants: world.tenants.clone(), last: None }),
        })
    }

    /// Lets all tenants run, in random order, until the time is over.
    pub(crate) async fn until(self: Arc<Self>, deadline: Instant, seed: u64) -> Result<(), Failure> {
        let mut workers = tokio::task::JoinSet::new();
        for number in 0..AT_ONCE as u64 {
            let mut random = StdRng::seed_from_u64(seed ^ (number << 32));
            let runs = Arc::clone(&self);
            workers.spawn(async move {
                while Instant::now() < deadline {
                    runs.one(&mut random).await;
                }
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended?;
        }
        Ok(())
    }

    async fn one(&self, random: &mut StdRng) {
        let Some(tenant) = self.waiting().take(random) else {
            // There are more workers than tenants.
            return tokio::time::sleep(REST).await;
        };
        if let Some(place) = self.world.places.get(tenant.place)
            && random.random_bool(0.5)
        {
            place.change();
        }
        let options = SyncOptions { full: random.random_ratio(FULL, 100), confirm_removals: false };
        let given_up = random.random_ratio(GIVEN_UP, 100);
        let patience = given_up.then(|| Duration::from_millis(random.random_range(10..500)));
        let ended = run(&self.connector, &tenant, options, patience, &self.tally).await;
        let failed = matches!(&ended, Ok(Some(outcome)) if outcome.error.is_some());
        judge(&tenant, ended, &self.findings);
        if failed {
            tokio::time::sleep(REST).await;
        }
        self.waiting().tenants.push(tenant);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tenants that do not run now.
struct Waiting {
    tenants: Vec<Arc<Tenant>>,
    /// The place of the one who ran off last.
    last: Option<usize>,
}

impl Waiting {
    /// Any of them, but one in two a neighbour of the last, so that those who share a site meet there.
    fn take(&mut self, random: &mut StdRng) -> Option<Arc<Tenant>> {
        if self.tenants.is_empty() {
            return None;
        }
        let any = random.random_range(0..self.tenants.len());
        let neighbour = self.tenants.iter().position(|tenant| Some(tenant.place) == self.last);
        let number = neighbour.filter(|_| random.random_bool(0.5)).unwrap_or(any);
        let tenant = self.tenants.swap_remove(number);
        self.last = Some(tenant.place);
        Some(tenant)
    }
}

fn judge(tenant: &Tenant, ended: Result<Option<Outcome>, Failure>, findings: &Findings) {
    let number = tenant.number;
    match ended {
        Err(error) => findings.add("a run that could not be", format!("tenant {number}: {error}")),
        Ok(Some(Outcome { error: Some(error), .. })) if !kind(&error).1 => {
            findings.add("an error that no fault explains", format!("tenant {number}: {error}"));
        }
        Ok(_) => {}
    }
}

/// One run; none where patience was at its end first.
async fn run(
    connector: &Connector,
    tenant: &Arc<Tenant>,
    options: SyncOptions,
    patience: Option<Duration>,
    tally: &Tally,
) -> Result<Option<Outcome>, Failure> {
    let store = SharedStore::new(open(tenant).await?);
    let session = tenant.session(connector)?;
    let running = sync(&session, &tenant.registration, &store, options, &());
    let ended = match patience {
        None => Some(running.await),
        Some(patience) => tokio::time::timeout(patience, running).await.ok(),
    };
    drop(session);
    tenant.end_session();
    let Some(ended) = ended else {
        tally.count(|counted| counted.given_up += 1);
        return Ok(None);
    };
    let outcome = ended?;
    tally.ended(&outcome);
    Ok(Some(outcome))
}

/// Opens the tenant's store; waits for a run that was given up to let go of it.
async fn open(tenant: &Arc<Tenant>) -> Result<SqliteStore, Failure> {
    let began = Instant::now();
    loop {
        let opening = Arc::clone(tenant);
        match tokio::task::spawn_blocking(move || SqliteStore::open(&opening.data)).await? {
            Err(StoreError::Locked { .. }) if began.elapsed() < LAST_BATCH => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return Ok(other?),
        }
    }
}

/// After the sites have healed: runs that must end cleanly, and then each store is what its site is.
pub(crate) async fn settle(connector: &Connector, world: &World, tally: &Tally, findings: &Findings) {
    // The first takes up what an earlier full run left undone; only the second compares everything anew.
    for last in [false, true] {
        stream::iter(&world.tenants)
            .for_each_concurrent(AT_ONCE, |tenant| async move {
                let options = SyncOptions { full: true, confirm_removals: true };
                let ended = run(connector, tenant, options, None, tally).await;
                if let Ok(Some(outcome)) = &ended {
                    let (number, failed) = (tenant.number, outcome.summary.documents.failed);
                    findings.check(outcome.error.is_none(), "a run on a healed site failed", || {
                        format!("tenant {number}: {:?}", outcome.error)
                    });
                    findings.check(!last || failed == 0, "pages of a healed site failed", || {
                        format!("tenant {number}: {failed} pages")
                    });
                }
                judge(tenant, ended, findings);
            })
            .await;
    }
    for tenant in &world.tenants {
        compare(world, tenant, findings);
    }
}

fn compare(world: &World, tenant: &Tenant, findings: &Findings) {
    let Some(place) = world.places.get(tenant.place) else { return };
    let tell = |what: String| {
        findings.add("a store is not what its site is", format!("tenant {}: {what}", tenant.number))
    };
    match tenant.states(&place.site) {
        Err(error) => tell(error.to_string()),
        Ok((stored, expected)) => {
            for (id, page) in &expected {
                match stored.get(id) {
                    None => tell(format!("page {id} is missing: {page:?}")),
                    Some(document) if document != page => {
                        tell(format!("page {id} is {document:?}, not {page:?}"));
                    }
                    Some(_) => {}
                }
            }
            for (id, document) in stored.iter().filter(|(id, _)| !expected.contains_key(*id)) {
                tell(format!("page {id} should not be there: {document:?}"));
            }
        }
    }
}
