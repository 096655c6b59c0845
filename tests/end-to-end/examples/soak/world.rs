//! The sites, and the tenants that read them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use confluence_site::{Condition, Site, Statistics};
use kai::source_file::Registration;
use kai::store::{Filter, SqliteStore};
use kai_host::{Connector, Session};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::Failure;
use crate::support::{States, registration_with, states, truth};
use crate::trouble::Trouble;

/// One tenant in so many has a site for itself ...
const ALONE: usize = 5;
/// ... the others share one: two accounts that read all of it, and two that read one space each.
const SCOPES: [Option<&str>; 4] = [None, None, Some("ENG"), Some("OPS")];
/// Nobody reads the sites' logs.
const LOG_LENGTH: usize = 1;

pub(crate) struct World {
    pub(crate) places: Vec<Place>,
    pub(crate) tenants: Vec<Arc<Tenant>>,
    /// Where the tenants' stores are; goes with the world.
    _data: tempfile::TempDir,
}

/// A site and those who read it.
pub(crate) struct Place {
    pub(crate) site: Site,
    pub(crate) tenants: Vec<Arc<Tenant>>,
    trouble: Arc<Mutex<Trouble>>,
}

/// A source, where its documents go, and its session.
pub(crate) struct Tenant {
    pub(crate) number: usize,
    pub(crate) registration: Registration,
    pub(crate) data: PathBuf,
    /// Index into [`World::places`].
    pub(crate) place: usize,
    /// The session is kept for the next run; else each run makes one, and ends it.
    keeps_session: bool,
    line: Mutex<Line>,
}

/// A tenant's way to its site.
#[derive(Default)]
struct Line {
    session: Option<Session>,
    /// What its account had done when it was made: not nothing where something of the last session lives on.
    at_first: Traffic,
    /// What earlier sessions did.
    before: Traffic,
}

/// What tenants did on the network, by the host's own count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    pub(crate) throttled: u64,
    pub(crate) throttled_seconds: f64,
    pub(crate) bytes: u64,
}

impl World {
    /// The sites are made and tenants told about them; nothing is read yet.
    pub(crate) async fn new(seed: u64, tenants: usize) -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let mut world = Self { places: Vec::new(), tenants: Vec::new(), _data: data };
        while world.tenants.len() < tenants {
            let left = tenants - world.tenants.len();
            let alone = world.places.len() < tenants / ALONE;
            let sharing = if alone { 1 } else { left };
            world.add_place(seed, SCOPES.get(..sharing).unwrap_or(&SCOPES)).await?;
        }
        Ok(world)
    }

    async fn add_place(&mut self, seed: u64, scopes: &[Option<&str>]) -> Result<(), Failure> {
        let number = self.places.len();
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        let site = start_site(seed).await?;
        let space_keys = site.with_state(|state| state.spaces().into_iter().map(|space| space.key).collect());
        let trouble = Arc::new(Mutex::new(Trouble::new(seed, space_keys)));
        let mut place = Place { site, tenants: Vec::new(), trouble };
        for (account, scope) in scopes.iter().enumerate() {
            let (email, token) = (format!("tenant{account}@acme.example"), format!("token-{account}"));
            place.site.with_state(|state| state.add_account(&email, &token));
            let fields = serde_json::json!({ "email": email, "api_token": token, "space_key": scope });
            let index = self.tenants.len();
            let tenant = Arc::new(Tenant {
                number: index,
                registration: registration_with(&place.site, fields),
                data: self._data.path().join(index.to_string()),
                place: number,
                keeps_session: scopes.len() > 1,
                line: Mutex::default(),
            });
            place.tenants.push(Arc::clone(&tenant));
            self.tenants.push(tenant);
        }
        self.places.push(place);
        Ok(())
    }

    pub(crate) fn begin_trouble(&self) {
        for place in &self.places {
            place.begin_trouble();
        }
    }

    pub(crate) fn heal(&self) {
        for place in &self.places {
            place.heal();
        }
    }

    /// What all tenants did.
    pub(crate) fn traffic(&self) -> Traffic {
        self.tenants.iter().fold(Traffic::default(), |sum, tenant| sum.plus(tenant.traffic()))
    }
}

async fn start_site(seed: u64) -> std::io::Result<Site> {
    let mut random = StdRng::seed_from_u64(seed);
    let site = Site::builder()
        .seed(seed)
        .spaces(random.random_range(2..=4))
        .pages(random.random_range(25..=55))
        .page_bytes(1500)
        .latency(Duration::from_millis(random.random_range(0..60)))
        .log_length(LOG_LENGTH)
        .start()
        .await?;
    site.with_state(|state| {
        let quirks = &mut state.quirks;
        // Listings of several requests, for all that there are few pages.
        quirks.page_cap = random.random_range(5..20);
        quirks.honour_cql = random.random_bool(0.3);
        quirks.reject_cql = !quirks.honour_cql && random.random_bool(0.2);
        quirks.cursor_in_next_encoded = random.random_bool(0.5);
        quirks.absolute_next = random.random_bool(0.3);
        quirks.send_date = random.random_bool(0.9);
    });
    Ok(site)
}

impl Place {
    fn begin_trouble(&self) {
        let (site, trouble) = (self.site.clone(), Arc::clone(&self.trouble));
        self.site.before_each_request(move |state, _| {
            // While the hook runs no other request is looked at, so the fault is for this very one.
            if let Some(fault) = lock(&trouble).at_request(state) {
                site.inject(fault, 1, Condition::Any);
            }
        });
    }

    /// Also takes the hook away, which keeps the site alive.
    fn heal(&self) {
        self.site.before_each_request(|_, _| ());
        self.site.heal();
        self.site.with_state(|state| lock(&self.trouble).heal(state));
    }

    /// Somebody works on a page while nobody reads.
    pub(crate) fn change(&self) {
        self.site.with_state(|state| lock(&self.trouble).change(state));
    }

    pub(crate) fn trouble(&self) -> MutexGuard<'_, Trouble> {
        lock(&self.trouble)
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.site.statistics()
    }

    /// Requests of all of the site's tenants, by the host's own count, each counted before it is sent.
    pub(crate) fn requests(&self) -> u64 {
        self.tenants.iter().map(|tenant| tenant.traffic().requests).sum()
    }

    /// Until when the host leaves the site alone; none where no session could say.
    pub(crate) fn paused_until(&self) -> Option<Option<Instant>> {
        let session = self.tenants.iter().find_map(|tenant| lock(&tenant.line).session.clone())?;
        Some(session.paused_until())
    }
}

impl Tenant {
    pub(crate) fn session(&self, connector: &Connector) -> Result<Session, Failure> {
        let mut line = lock(&self.line);
        if let Some(session) = &line.session {
            return Ok(session.clone());
        }
        let session = connector.session(self.registration.source.clone())?;
        line.at_first = Traffic::of(&session);
        line.session = Some(session.clone());
        Ok(session)
    }

    /// After a run.
    pub(crate) fn end_session(&self) {
        if !self.keeps_session {
            let mut line = lock(&self.line);
            line.before = line.traffic();
            line.session = None;
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        lock(&self.line).traffic()
    }

    /// What its store holds, and what it should hold.
    pub(crate) fn states(&self, site: &Site) -> Result<(States, States), Failure> {
        let mut documents = Vec::new();
        SqliteStore::open_for_reading(&self.data)?.documents(&Filter::default(), |document| {
            documents.push(document);
            true
        })?;
        let mut expected = truth(site);
        if let Some(scope) = self.registration.scope() {
            expected.retain(|_, (_, space_key, _, _)| space_key == scope);
        }
        Ok((states(documents.into_iter()), expected))
    }
}

impl Line {
    fn traffic(&self) -> Traffic {
        match &self.session {
            Some(session) => self.before.plus(Traffic::of(session).minus(self.at_first)),
            None => self.before,
        }
    }
}

impl Traffic {
    fn of(session: &Session) -> Self {
        let now = session.statistics();
        Self {
            requests: now.requests,
            retries: now.retries,
            throttled: now.throttled,
            throttled_seconds: now.throttled_seconds,
            bytes: now.bytes,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            retries: self.retries + other.retries,
            throttled: self.throttled + other.throttled,
            throttled_seconds: self.throttled_seconds + other.throttled_seconds,
            bytes: self.bytes + other.bytes,
        }
    }

    fn minus(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            retries: self.retries - earlier.retries,
            throttled: self.throttled - earlier.throttled,
            throttled_seconds: self.throttled_seconds - earlier.throttled_seconds,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
