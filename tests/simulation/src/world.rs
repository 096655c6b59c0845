//! The site, what happens to it, and what is true of it.

use std::collections::BTreeMap;
use std::time::Duration;

use confluence_connector::transport::{Response, TransportError};
use confluence_site::{PageStatus, PageView, Quirks, Site, SpaceStatus, SpaceView, State};
use kai::store::StoredDocument;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Where the site is said to be.
pub(crate) const BASE_URL: &str = "https://acme.atlassian.net";

/// 2026-12-01T00:00:00Z: after all that the site is made with.
const BEGINNING: i64 = 1_796_083_200_000;

/// Requests after which a run is taken for one that never ends.
const ENDLESS: u64 = 20_000;

/// The `Date` header has whole seconds.
const DATE_PRECISION: i64 = 1_000;

/// Since when what is known of a page holds.
#[derive(Debug, Clone, Copy)]
struct Since {
    /// It was created, moved, put away, taken out again, hidden or shown: what makes it part of a listing or not.
    settled: i64,
    /// Its latest version was made.
    edited: i64,
    /// Whether a version was made when it settled, so that a delta listing shows it.
    created: bool,
    /// Whether it was ever moved: then its text may name the space that it was in when it was read.
    moved: bool,
    /// Whether no answer that would hold its body arrives.
    broken: bool,
}

/// A page of the store, as the checks see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    title: String,
    space_key: String,
    version: u32,
    modified_at: String,
    content: String,
}

impl From<StoredDocument> for Stored {
    fn from(document: StoredDocument) -> Self {
        Self {
            title: document.title,
            space_key: document.space_key,
            version: document.version_number,
            modified_at: document.modified_at,
            content: document.content,
        }
    }
}

/// What a run is known to have met.
#[derive(Debug, Clone, Copy, Default)]
struct Met {
    /// When it began; of a run that was taken up again, when it first did.
    began: i64,
    /// When this process began it.
    process_began: i64,
    /// Whether something went wrong that excuses it from coming to its end.
    excused: bool,
    /// Whether an answer looked good and was not: what it left out cannot be known.
    deceived: bool,
    /// The same of the processes before that worked on the run.
    deceived_before: bool,
    requests: u64,
}

/// A site and its history.
#[derive(Debug)]
pub(crate) struct World {
    state: State,
    random: StdRng,
    now: i64,
    pages: BTreeMap<String, Since>,
    /// Since when a space is as visible as it is now, by id.
    spaces: BTreeMap<String, i64>,
    /// The space that the source names.
    pinned: Option<String>,
    event_rate: f64,
    fault_rate: f64,
    run: Met,
    /// The beginning of the last full run that listed everything; what a delta run misses counts from there.
    full_since: Option<i64>,
    findings: Vec<String>,
    trace: Vec<String>,
    written: u64,
    pub(crate) requests: u64,
    pub(crate) events: u64,
    pub(crate) faults: u64,
}

impl World {
    /// The world of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let spaces = random.random_range(1..6);
        let pages = if random.random_bool(0.1) { 0 } else { random.random_range(1..60) };
        let mut state = Site::builder().seed(seed).spaces(spaces).pages(pages).page_bytes(60).content();
        state.set_base_url(BASE_URL);
        state.set_time(BEGINNING);
        state.quirks = quirks(&mut random);
        let made = Since { settled: 0, edited: 0, created: true, moved: false, broken: false };
        let pages = state.page_ids().into_iter().map(|id| (id, made)).collect();
        let keys: Vec<SpaceView> = state.spaces();
        let pinned = keys
            .get(random.random_range(0..keys.len().max(1)))
            .filter(|_| random.random_bool(0.2))
            .map(|space| space.key.clone());
        let mut world = Self {
            spaces: keys.into_iter().map(|space| (space.id, 0)).collect(),
            state,
            random,
            now: BEGINNING,
            pages,
            pinned,
            event_rate: 0.0,
            fault_rate: 0.0,
            run: Met::default(),
            full_since: None,
            findings: Vec::new(),
            trace: Vec::new(),
            written: 0,
            requests: 0,
            events: 0,
            faults: 0,
        };
        let quirks = format!("{:?}, pinned: {:?}", world.state.quirks, world.pinned);
        world.note(quirks);
        world
    }

    pub(crate) fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    pub(crate) fn pinned(&self) -> Option<&str> {
        self.pinned.as_deref()
    }

    /// The true time, which is not that of a server whose clock is wrong.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    pub(crate) fn findings(&self) -> &[String] {
        &self.findings
    }

    pub(crate) fn trace(&self) -> &[String] {
        &self.trace
    }

    pub(crate) fn find(&mut self, what: String) {
        self.note(format!("FOUND {what}"));
        self.findings.push(what);
    }

    pub(crate) fn note(&mut self, what: String) {
        self.trace.push(format!("{:>12.3} {what}", (self.now - BEGINNING) as f64 / 1000.0));
    }

    /// How often a task lets others go first.
    pub(crate) fn turns(&mut self) -> u32 {
        self.random.random_range(0..4)
    }

    pub(crate) fn pass_time(&mut self, span: Duration) {
        self.now += i64::try_from(span.as_millis()).unwrap_or(0);
        self.state.set_time(self.now);
    }

    /// How much happens from now on, at each request.
    pub(crate) fn set_rates(&mut self, events: f64, faults: f64) {
        (self.event_rate, self.fault_rate) = (events, faults);
    }

    /// A process begins or takes up a run.
    pub(crate) fn begin_process(&mut self) {
        self.run.process_began = self.now;
        self.run.requests = 0;
        self.run.excused = false;
        self.run.deceived_before |= std::mem::take(&mut self.run.deceived);
    }

    /// The run that the process began is a new one.
    pub(crate) fn begin_run(&mut self, resumed: bool) {
        let before = std::mem::take(&mut self.run.deceived_before);
        if resumed {
            self.run.deceived |= before;
        } else {
            self.run.began = self.run.process_began;
        }
    }

    /// One request: first what happens before it, then its answer, good or bad.
    pub(crate) fn request(&mut self, url: &str, authorization: &str) -> Result<Response, TransportError> {
        self.requests += 1;
        self.run.requests += 1;
        let pause = self.random.random_range(0..2_000);
        self.pass_time(Duration::from_millis(pause));
        if self.random.random_bool(self.event_rate) {
            for _ in 0..self.random.random_range(1..4) {
                self.event();
            }
        }
        let Some(path) = url.strip_prefix(BASE_URL) else {
            self.find(format!("a request left the site: {url}"));
            return Err(TransportError::Denied("elsewhere".to_owned()));
        };
        if self.run.requests > ENDLESS {
            if self.run.requests == ENDLESS + 1 {
                self.find("a run that never ends".to_owned());
            }
            return Err(TransportError::Unavailable("enough".to_owned()));
        }
        let (answer, fault) = if self.random.random_bool(self.fault_rate) {
            self.faults += 1;
            self.spoiled(path)
        } else {
            (None, "")
        };
        let answer = answer.unwrap_or_else(|| {
            let answer = self.state.get(path, Some(authorization));
            Ok(Response { status: answer.status, date: answer.date, body: answer.body, retry_after: None })
        });
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        self.note(format!("GET {path}: {status} {fault}"));
        answer
    }

    /// What comes in the place of a good answer.
    fn spoiled(&mut self, path: &str) -> (Option<Result<Response, TransportError>>, &'static str) {
        self.run.excused = true;
        let plain = |status, body: &str| {
            Some(Ok(Response { status, body: body.as_bytes().to_vec(), ..Response::default() }))
        };
        match self.random.random_range(0..15) {
            0 => (Some(Err(TransportError::Unavailable("connection reset".to_owned()))), "reset"),
            1 => (Some(Err(TransportError::TooLarge("over the cap".to_owned()))), "too large"),
            2 => (plain(500, "<html>Internal Server Error</html>"), ""),
            3 => (plain(503, "<html>Service Unavailable</html>"), ""),
            4 => (plain(429, "{}"), ""),
            5 => (plain(401, "<html>Unauthorized</html>"), ""),
            6 => (plain(403, "<html>Forbidden</html>"), ""),
            7 => (plain(404, r#"{"errors":[{"status":404,"code":"NOT_FOUND","title":"Not Found"}]}"#), ""),
            8 => (plain(200, "<html>Log in to continue</html>"), "a login page"),
            9 => (plain(200, r#"{"results":[{"id":"97042","#), "cut"),
            10 => (plain(200, ""), "nothing at all"),
            11 if path.contains("cursor=") => {
                let title = "Provided value for 'cursor' is not the correct type";
                (
                    plain(400, &format!(r#"{{"errors":[{{"status":400,"title":"{title}"}}]}}"#)),
                    "a stale cursor",
                )
            }
            12 => {
                let next =
                    r#"{"results":[],"_links":{"next":"https://evil.example/wiki/api/v2/spaces?cursor=x"}}"#;
                (plain(200, next), "next elsewhere")
            }
            13 if !path.contains("/pages/") => {
                self.run.deceived = true;
                (plain(200, r#"{"results":[],"_links":{}}"#), "an empty listing")
            }
            14 if path.contains("/spaces?") && !path.contains("keys=") => {
                self.run.deceived = true;
                (self.spaces_with_gaps(), "a listing of spaces with gaps")
            }
            _ => (plain(502, "<html>Bad Gateway</html>"), ""),
        }
    }

    fn spaces_with_gaps(&mut self) -> Option<Result<Response, TransportError>> {
        let shown: Vec<_> = self.state.spaces().into_iter().filter(is_shown).collect();
        let rows: Vec<_> = shown
            .iter()
            .filter(|_| self.random.random_bool(0.5))
            .map(|space| serde_json::json!({"id": space.id, "key": space.key, "name": space.name}))
            .collect();
        let body = serde_json::json!({"results": rows, "_links": {}}).to_string().into_bytes();
        Some(Ok(Response { status: 200, body, ..Response::default() }))
    }

    /// Something happens to the site.
    pub(crate) fn event(&mut self) {
        self.events += 1;
        let choice = self.random.random_range(0..100);
        match choice {
            0..36 => self.on_page(PageStatus::Current, |world, id| world.edit(id)),
            36..42 => self.on_page(PageStatus::Current, |world, id| {
                // Twice in one millisecond.
                world.edit(id);
                world.edit(id);
            }),
            42..48 => self.on_page(PageStatus::Current, |world, id| {
                let title = format!("Renamed {}", world.written);
                world.state.rename(id, &title);
                world.touch(id, "renamed", |since, now| since.edited = now);
            }),
            48..60 => self.create_page(),
            60..66 => {
                self.on_page(PageStatus::Current, |world, id| world.set_status(id, PageStatus::Trashed))
            }
            66..70 => {
                self.on_page(PageStatus::Current, |world, id| world.set_status(id, PageStatus::Archived))
            }
            70..75 => {
                self.on_page(PageStatus::Trashed, |world, id| world.set_status(id, PageStatus::Current))
            }
            75..77 => {
                self.on_page(PageStatus::Archived, |world, id| world.set_status(id, PageStatus::Current))
            }
            77..80 => self.on_page(PageStatus::Current, |world, id| {
                world.state.purge(id);
                world.touch(id, "purged", |since, now| since.settled = now);
            }),
            80..87 => self.on_page(PageStatus::Current, |world, id| {
                let Some(space) = world.any_space() else { return };
                world.state.move_page(id, &space.key);
                world.touch(id, &format!("moved to {}", space.key), |since, now| {
                    (since.settled, since.created, since.moved) = (now, false, true);
                });
            }),
            87..92 => self.on_page(PageStatus::Current, |world, id| {
                let restricted = world.random.random_bool(0.5);
                world.state.set_restricted(id, restricted);
                let what = if restricted { "restricted" } else { "unrestricted" };
                world.touch(id, what, |since, now| (since.settled, since.created) = (now, false));
            }),
            92..95 => self.on_page(PageStatus::Current, |world, id| {
                let broken = world.random.random_bool(0.5);
                world.state.set_broken(id, broken);
                world.run.excused = true;
                world.touch(id, if broken { "broken" } else { "whole" }, |since, _| since.broken = broken);
            }),
            95 => {
                let key = format!("NEW{}", self.written);
                self.written += 1;
                let id = self.state.create_space(&key, &key);
                self.spaces.insert(id, self.now);
                self.note(format!("space {key} created"));
            }
            _ => {
                let Some(space) = self.any_space() else { return };
                let status =
                    if self.random.random_bool(0.3) { SpaceStatus::Archived } else { SpaceStatus::Current };
                let visible = self.random.random_bool(0.6);
                self.show_space(&space, status, visible);
            }
        }
    }

    fn show_space(&mut self, space: &SpaceView, status: SpaceStatus, visible: bool) {
        self.state.change_space(&space.key, status, visible);
        self.spaces.insert(space.id.clone(), self.now);
        // A space that goes while it is listed is an error of that run, and rightly so.
        self.run.excused = true;
        self.note(format!("space {} is {status:?}, visible: {visible}", space.key));
    }

    fn on_page(&mut self, status: PageStatus, event: impl FnOnce(&mut Self, &str)) {
        let ids = self.state.page_ids();
        let ids: Vec<_> = ids
            .into_iter()
            .filter(|id| self.state.page(id).is_some_and(|page| page.status == status))
            .collect();
        let at = self.random.random_range(0..ids.len().max(1));
        if let Some(id) = ids.get(at) {
            event(self, id);
        }
    }

    fn any_space(&mut self) -> Option<SpaceView> {
        let spaces = self.state.spaces();
        let at = self.random.random_range(0..spaces.len().max(1));
        spaces.into_iter().nth(at)
    }

    fn text(&mut self) -> String {
        self.written += 1;
        format!("<p>Text {}</p>", self.written)
    }

    fn edit(&mut self, id: &str) {
        let text = self.text();
        self.state.edit(id, Some(&text));
        self.touch(id, "edited", |since, now| since.edited = now);
    }

    fn create_page(&mut self) {
        let Some(space) = self.any_space() else { return };
        let text = self.text();
        let title = format!("Page {}", self.written);
        let Some(id) = self.state.create_page(&space.key, &title, Some(&text)) else { return };
        let now = self.now;
        self.pages.insert(
            id.clone(),
            Since { settled: now, edited: now, created: true, moved: false, broken: false },
        );
        self.note(format!("page {id} created in {}", space.key));
    }

    fn set_status(&mut self, id: &str, status: PageStatus) {
        self.state.set_status(id, status);
        self.touch(id, &format!("{status:?}"), |since, now| (since.settled, since.created) = (now, false));
    }

    fn touch(&mut self, id: &str, what: &str, change: impl FnOnce(&mut Since, i64)) {
        let now = self.now;
        if let Some(since) = self.pages.get_mut(id) {
            change(since, now);
        }
        self.note(format!("page {id} {what}"));
    }

    /// What the source covers, by id.
    fn truth(&self) -> BTreeMap<String, PageView> {
        let pages = self.state.visible_pages().into_iter();
        pages
            .filter(|page| self.pinned.as_ref().is_none_or(|key| page.space_key == *key))
            .map(|page| (page.id.clone(), page))
            .collect()
    }

    fn space_shown_since(&self, key: &str) -> i64 {
        let spaces = self.state.spaces();
        let space = spaces.iter().find(|space| space.key == key);
        space.and_then(|space| self.spaces.get(&space.id)).copied().unwrap_or(0)
    }

    /// No page goes that was there, in sight, ever since this process began its run.
    pub(crate) fn check_removal(&mut self, ids: &[String]) {
        let truth = self.truth();
        for id in ids {
            let Some((page, since)) = truth.get(id).zip(self.pages.get(id)) else { continue };
            if since.settled.max(self.space_shown_since(&page.space_key)) < self.run.process_began {
                self.find(format!("page {id} exists and is removed"));
            }
        }
    }

    /// After a run that came to its end: whatever is in sight since the last full run, or was written since, and not
    /// edited since this run began, is stored in its latest version or is a failure that is known; and known failures
    /// do not outlast a run in which nothing fails.
    pub(crate) fn finish_run(&mut self, full: bool, stored: &BTreeMap<String, Stored>, failed: &[String]) {
        let Met { began, deceived, excused, .. } = self.run;
        if deceived {
            self.full_since = None;
        } else if full {
            self.full_since = Some(began);
        }
        let Some(full_since) = self.full_since else { return };
        let lag = i64::try_from(self.state.quirks.replication_lag.as_millis()).unwrap_or(0) + DATE_PRECISION;
        let mut lost = Vec::new();
        for (id, page) in self.truth() {
            let Some(since) = self.pages.get(&id) else { continue };
            let in_sight =
                if since.created { since.settled < began - lag } else { since.settled < full_since - lag };
            let owed =
                in_sight && self.space_shown_since(&page.space_key) < began && since.edited < began - lag;
            let may_fail = since.broken || excused;
            if !owed || (may_fail && failed.contains(&id)) {
                continue;
            }
            match stored.get(&id) {
                Some(stored) if stored.version == page.version => {}
                Some(stored) => {
                    lost.push(format!("page {id} is stored as {} of {}", stored.version, page.version))
                }
                None => lost.push(format!("page {id} is not stored")),
            }
        }
        for what in lost {
            self.find(what);
        }
    }

    /// A run that did not come to its end although nothing was wrong, and one that nobody deceived.
    pub(crate) fn fail_run(&mut self, error: &str) {
        // What was committed before may rest on a wrong answer.
        if self.run.deceived {
            self.full_since = None;
        }
        if !self.run.excused
            && !error.contains("there is none, it is archived")
            && !error.contains("sees no space")
        {
            self.find(format!("a run failed without a cause: {error}"));
        }
    }

    /// The process died; what it had committed is there.
    pub(crate) fn die(&mut self) {
        if self.run.deceived {
            self.full_since = None;
        }
        self.note("DIED".to_owned());
    }

    /// Peace: nothing happens and nothing fails any more, every change has reached the listings.
    pub(crate) fn settle(&mut self) {
        self.set_rates(0.0, 0.0);
        let spaces = self.state.spaces();
        let pinned = |space: &SpaceView| self.pinned.as_ref().is_some_and(|key| *key == space.key);
        let needed = match spaces.iter().find(|space| pinned(space)) {
            Some(space) => Some(space),
            None if spaces.iter().any(is_shown) => None,
            None => spaces.first(),
        };
        if let Some(space) = needed.filter(|space| !is_shown(space)).cloned() {
            self.show_space(&space, SpaceStatus::Current, true);
        }
        for id in self.state.page_ids() {
            self.state.set_broken(&id, false);
        }
        self.pages.values_mut().for_each(|since| since.broken = false);
        self.pass_time(self.state.quirks.replication_lag + Duration::from_secs(120));
    }

    /// The store equals the site, page by page: title, space, version, time and text.
    pub(crate) fn check_equal(&mut self, stored: &BTreeMap<String, Stored>) {
        let truth = self.truth();
        for id in stored.keys().filter(|id| !truth.contains_key(*id)) {
            self.find(format!("page {id} is stored and not there"));
        }
        for (id, page) in truth {
            let Some(stored) = stored.get(&id) else {
                self.find(format!("page {id} is there and not stored"));
                continue;
            };
            let is = (&stored.title, &stored.space_key, stored.version, &stored.modified_at);
            let ought = (&page.title, &page.space_key, page.version, &page.modified_at);
            if is != ought {
                self.find(format!("page {id} is stored as {is:?} and is {ought:?}"));
            }
            let converted = confluence_connector::markdown::convert(&confluence_connector::markdown::Page {
                id: &id,
                title: &page.title,
                space_key: &page.space_key,
                base_url: BASE_URL,
                storage: &page.storage,
            });
            let moved = self.pages.get(&id).is_some_and(|since| since.moved);
            if !moved && converted.text != stored.content {
                self.find(format!("page {id} is stored with the text of another version"));
            }
        }
    }
}

fn is_shown(space: &SpaceView) -> bool {
    space.visible && space.status == SpaceStatus::Current
}

fn quirks(random: &mut StdRng) -> Quirks {
    let caps = [1, 2, 3, 5, 10, 25, 50, 100, 250];
    let send_date = random.random_bool(0.85);
    // Without a `Date` the host's clock counts, which is trusted to five minutes.
    let skew = if send_date { 400_000 } else { 240 };
    Quirks {
        page_cap: caps.get(random.random_range(0..caps.len())).copied().unwrap_or(250),
        honour_cql: random.random_bool(0.4),
        cql_zone_minutes: random.random_range(-48..=56) * 15,
        replication_lag: Duration::from_millis(if random.random_bool(0.5) {
            0
        } else {
            random.random_range(0..30_000)
        }),
        clock_skew: chrono::Duration::seconds(random.random_range(-skew..=skew)),
        cursor_in_next_encoded: random.random_bool(0.5),
        absolute_next: random.random_bool(0.2),
        send_date,
        reject_cql: random.random_bool(0.1),
        broken_sort: random.random_bool(0.2),
        ..Quirks::default()
    }
}
