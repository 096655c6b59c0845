//! What the site holds: spaces, pages, the accepted account, and how it deviates from a plain site.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use rand::Rng;

use crate::endpoints::{self, Answer, Endpoint};
use crate::storage_text::{self, ACCOUNTS, World};

/// 2025-12-01T00:00:00Z. Seeded pages are dated from here on, not back from now: sites of one seed are equal
/// whenever they are started.
const FIRST_DAY_MS: i64 = 1_764_547_200_000;
const DAY_MS: i64 = 86_400_000;
/// Ids cross from five to six digits on purpose: their order as text is not their order as numbers.
const FIRST_SPACE_ID: u64 = 65_538;
const SPACE_ID_STEP: u64 = 32_768;
const FIRST_PAGE_ID: u64 = 97_042;
const PAGE_ID_STEP: u64 = 131;

/// Whether a space is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceStatus {
    /// In use.
    Current,
    /// Put away; its pages keep their own status.
    Archived,
}

impl SpaceStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            SpaceStatus::Current => "current",
            SpaceStatus::Archived => "archived",
        }
    }
}

/// The life of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageStatus {
    /// Published.
    Current,
    /// Put away, but still in default listings.
    Archived,
    /// In the trash: gone from default listings, still there by id.
    Trashed,
    /// Never published: in no listing.
    Draft,
}

impl PageStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            PageStatus::Current => "current",
            PageStatus::Archived => "archived",
            PageStatus::Trashed => "trashed",
            PageStatus::Draft => "draft",
        }
    }
}

/// A space as tests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceView {
    /// A string of digits.
    pub id: String,
    /// Its key, `~...` for a personal space.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Whether it is in use.
    pub status: SpaceStatus,
    /// Whether the account may see it.
    pub visible: bool,
}

/// A page as tests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageView {
    /// A string of digits.
    pub id: String,
    /// The key of the space it is in.
    pub space_key: String,
    /// Its title.
    pub title: String,
    /// Its status.
    pub status: PageStatus,
    /// The number of its latest version.
    pub version: u32,
    /// RFC 3339, UTC, milliseconds.
    pub created_at: String,
    /// When the latest version was made, in the same form.
    pub modified_at: String,
    /// Its body in storage format.
    pub storage: String,
}

/// How this site deviates from a plain one.
#[derive(Debug, Clone)]
pub struct Quirks {
    /// The most rows a listing gives, whatever `limit` says.
    pub page_cap: u32,
    /// Whether a `cql` parameter of a page listing filters. Confluence is believed to ignore it.
    pub honour_cql: bool,
    /// The zone, in minutes east of UTC, in which CQL dates are read.
    pub cql_zone_minutes: i32,
    /// How long a change needs until listings show it. By id it shows at once.
    pub replication_lag: Duration,
    /// How far the server's clock is ahead: its `Date` header and the times of edits.
    pub clock_skew: chrono::Duration,
    /// Whether the cursor in `next` is percent-encoded.
    pub cursor_in_next_encoded: bool,
    /// Whether `next` is an absolute URL.
    pub absolute_next: bool,
    /// Whether answers carry a `Date` header.
    pub send_date: bool,
    /// Whether a `cql` parameter is answered with 400.
    pub reject_cql: bool,
    /// Whether page listings come in an order of their own, whatever `sort` says.
    pub broken_sort: bool,
    /// Whether every `next` repeats the cursor of its request, without end.
    pub loop_cursor: bool,
    /// Whether `next` points to another host.
    pub foreign_next: bool,
    /// Whether a `limit` over 250 is refused; else it counts as 250.
    pub limit_over_250_is_400: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Quirks {
            page_cap: 250,
            honour_cql: false,
            cql_zone_minutes: 0,
            replication_lag: Duration::ZERO,
            clock_skew: chrono::Duration::zero(),
            cursor_in_next_encoded: false,
            absolute_next: false,
            send_date: true,
            reject_cql: false,
            broken_sort: false,
            loop_cursor: false,
            foreign_next: false,
            limit_over_250_is_400: true,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Space {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) status: SpaceStatus,
    pub(crate) visible: bool,
    pub(crate) created: i64,
    pub(crate) homepage: Option<u64>,
    /// Names the space in addresses instead of its key.
    pub(crate) alias: Option<String>,
}

impl Space {
    /// What addresses name it by.
    pub(crate) fn address(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.key)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) id: u64,
    pub(crate) space: u64,
    pub(crate) title: String,
    pub(crate) status: PageStatus,
    pub(crate) restricted: bool,
    pub(crate) broken: bool,
    pub(crate) version: u32,
    pub(crate) created: i64,
    pub(crate) modified: i64,
    pub(crate) storage: Arc<str>,
    /// The parent's id and type; folders have ids too, but are no pages.
    pub(crate) parent: Option<(u64, &'static str)>,
    pub(crate) position: Option<i64>,
    pub(crate) author: &'static str,
}

/// A page and what it was before, as long as listings may still show that.
#[derive(Debug, Clone, Default)]
struct Record {
    now: Option<Page>,
    /// Earlier states, oldest first, each with the moment in which it ended.
    before: VecDeque<(i64, Option<Page>)>,
}

impl Record {
    fn as_of(&self, moment: i64) -> Option<&Page> {
        match self.before.iter().find(|(end, _)| *end > moment) {
            Some((_, page)) => page.as_ref(),
            None => self.now.as_ref(),
        }
    }
}

/// The pages of a space in the two orders that large listings come in: what they are sorted by, then their ids.
#[derive(Debug, Clone, Default)]
struct Sorted {
    by_id: BTreeSet<(i64, u64)>,
    by_modification: BTreeSet<(i64, u64)>,
}

/// Everything the site knows. Tests change it through [`Site::with_state`](crate::Site::with_state).
#[derive(Debug, Clone)]
pub struct State {
    /// How this site deviates from a plain one.
    pub quirks: Quirks,
    pub(crate) base_url: String,
    authorizations: BTreeSet<String>,
    world: World,
    spaces: BTreeMap<u64, Space>,
    pages: BTreeMap<u64, Record>,
    by_space: BTreeMap<u64, Sorted>,
    next_page: u64,
    /// The time, where a test sets it.
    time: Option<i64>,
}

impl State {
    pub(crate) fn new(seed: u64, spaces: usize, pages: usize, page_bytes: usize) -> State {
        let mut state = State {
            quirks: Quirks::default(),
            base_url: String::new(),
            authorizations: BTreeSet::new(),
            world: World { seed, space_keys: Vec::new(), pages: pages as u64, page_bytes },
            spaces: BTreeMap::new(),
            pages: BTreeMap::new(),
            by_space: BTreeMap::new(),
            next_page: FIRST_PAGE_ID,
            time: None,
        };
        state.set_account(crate::Site::EMAIL, crate::Site::TOKEN);
        for number in 1..=spaces {
            let (key, name) = match number {
                1 => ("ENG".to_owned(), "Engineering".to_owned()),
                2 => ("OPS".to_owned(), "Operations".to_owned()),
                3 => ("~712020ada".to_owned(), "Ada's space".to_owned()),
                _ => (format!("SP{number}"), format!("Space {number}")),
            };
            state.create_space(&key, &name);
            state.world.space_keys.push(key);
        }
        state.populate();
        state
    }

    /// `pages` current pages, evenly over the spaces, and on top of them what must not be taken for current.
    fn populate(&mut self) {
        let ids: Vec<u64> = self.spaces.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let total = self.world.pages;
        let mut extra = 0;
        for number in 0..total {
            let space = ids.get((number % ids.len() as u64) as usize).copied().unwrap_or_default();
            self.seed_page(space, number, number, PageStatus::Current);
            let others = [(15, PageStatus::Archived), (20, PageStatus::Trashed), (30, PageStatus::Draft)];
            for (every, status) in others {
                if (number + 1) % every == 0 {
                    // Their own turn through the spaces: 15 and 30 are multiples of the default three.
                    let space = ids.get((extra % ids.len() as u64) as usize).copied().unwrap_or_default();
                    self.seed_page(space, total + extra, number, status);
                    extra += 1;
                }
            }
        }
    }

    fn seed_page(&mut self, space: u64, number: u64, turn: u64, status: PageStatus) {
        let mut rng = storage_text::rng(self.world.seed, number, 2);
        let homepage = self.spaces.get(&space).and_then(|space| space.homepage);
        let created = FIRST_DAY_MS
            + (300 * DAY_MS) / self.world.pages.max(1) as i64 * turn as i64
            + rng.random_range(0..DAY_MS);
        let version = if rng.random_bool(0.4) { 1 } else { rng.random_range(2..13) };
        let modified = if version == 1 { created } else { created + rng.random_range(60_000..30 * DAY_MS) };
        let parent = match (homepage, rng.random_range(0..10)) {
            (None, _) | (Some(_), 0) => None,
            (Some(_), 1) => Some((rng.random_range(700_000..800_000), "folder")),
            (Some(homepage), _) => Some((homepage, "page")),
        };
        let id = self.take_page_id();
        let page = Page {
            id,
            space,
            title: storage_text::title(self.world.seed, number),
            status,
            restricted: false,
            broken: false,
            version,
            created,
            modified,
            storage: storage_text::page(&self.world, number).into(),
            parent,
            position: (!rng.random_bool(0.2)).then(|| rng.random_range(100..900_000_000)),
            author: ACCOUNTS.get(rng.random_range(0..ACCOUNTS.len())).copied().unwrap_or_default(),
        };
        self.pages.insert(id, Record::default());
        self.set(id, Some(page));
        if status == PageStatus::Current
            && let Some(space) = self.spaces.get_mut(&space)
        {
            space.homepage.get_or_insert(id);
        }
    }

    fn take_page_id(&mut self) -> u64 {
        let id = self.next_page;
        self.next_page += PAGE_ID_STEP;
        id
    }

    /// Makes this the one credential that is accepted.
    pub fn set_account(&mut self, email: &str, token: &str) {
        self.authorizations.clear();
        self.add_account(email, token);
    }

    /// Accepts this credential too. All accounts see the same.
    pub fn add_account(&mut self, email: &str, token: &str) {
        self.authorizations.insert(STANDARD.encode(format!("{email}:{token}")));
    }

    pub(crate) fn accepts(&self, authorization: Option<&str>) -> bool {
        authorization.and_then(|value| value.split_once(' ')).is_some_and(|(scheme, rest)| {
            scheme.eq_ignore_ascii_case("basic") && self.authorizations.contains(rest.trim())
        })
    }

    /// A new space; its id.
    pub fn create_space(&mut self, key: &str, name: &str) -> String {
        let id = self.spaces.keys().next_back().map_or(FIRST_SPACE_ID, |last| last + SPACE_ID_STEP);
        let created = FIRST_DAY_MS - 30 * DAY_MS + self.spaces.len() as i64 * 3_600_123;
        let (key, name) = (key.to_owned(), name.to_owned());
        let space = Space {
            id,
            key,
            name,
            status: SpaceStatus::Current,
            visible: true,
            created,
            homepage: None,
            alias: None,
        };
        self.spaces.insert(id, space);
        id.to_string()
    }

    /// All spaces, by id.
    pub fn spaces(&self) -> Vec<SpaceView> {
        self.spaces
            .values()
            .map(|space| SpaceView {
                id: space.id.to_string(),
                key: space.key.clone(),
                name: space.name.clone(),
                status: space.status,
                visible: space.visible,
            })
            .collect()
    }

    /// Changes what a space is and whether the account may see it; false when there is no such key.
    pub fn change_space(&mut self, key: &str, status: SpaceStatus, visible: bool) -> bool {
        let Some(space) = self.spaces.values_mut().find(|space| space.key.eq_ignore_ascii_case(key)) else {
            return false;
        };
        space.status = status;
        space.visible = visible;
        true
    }

    /// Lets addresses name a space by another name than its key (facts A1); false when there is no such key.
    pub fn set_alias(&mut self, key: &str, alias: Option<&str>) -> bool {
        let space = self.spaces.values_mut().find(|space| space.key.eq_ignore_ascii_case(key));
        space.map(|space| space.alias = alias.map(str::to_owned)).is_some()
    }

    /// A new current page, at the root of its space; its id, or nothing when there is no such space. Without
    /// `storage` its body is generated.
    pub fn create_page(&mut self, space_key: &str, title: &str, storage: Option<&str>) -> Option<String> {
        let space = self.space_by_key(space_key)?.id;
        let id = self.take_page_id();
        let now = self.now_ms();
        let storage = match storage {
            Some(text) => text.into(),
            // The id stands for the number: far above the numbers of seeded pages of any usual site.
            None => storage_text::page(&self.world, 1_000_000_000 + id).into(),
        };
        let page = Page {
            id,
            space,
            title: title.to_owned(),
            status: PageStatus::Current,
            restricted: false,
            broken: false,
            version: 1,
            created: now,
            modified: now,
            storage,
            parent: None,
            position: None,
            author: ACCOUNTS.first().copied().unwrap_or_default(),
        };
        self.pages.insert(id, Record::default());
        self.replace(id, Some(page));
        Some(id.to_string())
    }

    /// A new version with this body, or with one more generated paragraph. False when there is no such page, as
    /// for all that follow.
    pub fn edit(&mut self, id: &str, storage: Option<&str>) -> bool {
        let Some(page) = self.find(id) else { return false };
        let storage: Arc<str> = match storage {
            Some(text) => text.into(),
            None => {
                let more = storage_text::paragraph(&self.world, page.id, page.version + 1);
                format!("{}{more}", page.storage).into()
            }
        };
        self.new_version(id, |page| page.storage = storage)
    }

    /// A new version with this title.
    pub fn rename(&mut self, id: &str, title: &str) -> bool {
        self.new_version(id, |page| page.title = title.to_owned())
    }

    /// Moves a page to the root of a space. As in Confluence this is no new version and changes no time. Also
    /// false when there is no such space.
    pub fn move_page(&mut self, id: &str, space_key: &str) -> bool {
        let Some(target) = self.space_by_key(space_key).map(|space| space.id) else { return false };
        self.change(id, |page| {
            page.space = target;
            page.parent = None;
        })
    }

    /// Archives, trashes, restores. No new version.
    pub fn set_status(&mut self, id: &str, status: PageStatus) -> bool {
        self.change(id, |page| page.status = status)
    }

    /// Takes the page from the account's sight, or gives it back: absent from listings, 404 by id.
    pub fn set_restricted(&mut self, id: &str, restricted: bool) -> bool {
        self.change(id, |page| page.restricted = restricted)
    }

    /// Makes every answer that would hold the page's body a 500, listings included, or mends it (facts B5).
    pub fn set_broken(&mut self, id: &str, broken: bool) -> bool {
        self.change(id, |page| page.broken = broken)
    }

    /// Removes the page for good.
    pub fn purge(&mut self, id: &str) -> bool {
        let Some(id) = self.find(id).map(|page| page.id) else { return false };
        self.replace(id, None);
        true
    }

    /// The page as it is now, whoever may see it.
    pub fn page(&self, id: &str) -> Option<PageView> {
        self.find(id).map(|page| self.view(page))
    }

    /// The status of a page as it is now.
    pub fn status(&self, id: &str) -> Option<PageStatus> {
        self.find(id).map(|page| page.status)
    }

    /// The ids of all pages of every status, ascending.
    pub fn page_ids(&self) -> Vec<String> {
        self.all().map(|page| page.id.to_string()).collect()
    }

    /// The truth that a finished sync must equal: the current, unrestricted pages of visible current spaces, by id.
    pub fn visible_pages(&self) -> Vec<PageView> {
        self.all()
            .filter(|page| page.status == PageStatus::Current && !page.restricted)
            .filter(|page| {
                let space = self.spaces.get(&page.space);
                space.is_some_and(|space| space.visible && space.status == SpaceStatus::Current)
            })
            .map(|page| self.view(page))
            .collect()
    }

    fn view(&self, page: &Page) -> PageView {
        PageView {
            id: page.id.to_string(),
            space_key: self.spaces.get(&page.space).map(|space| space.key.clone()).unwrap_or_default(),
            title: page.title.clone(),
            status: page.status,
            version: page.version,
            created_at: rfc3339(page.created),
            modified_at: rfc3339(page.modified),
            storage: page.storage.to_string(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Page> {
        self.pages.values().filter_map(|record| record.now.as_ref())
    }

    fn space_by_key(&self, key: &str) -> Option<&Space> {
        self.spaces.values().find(|space| space.key.eq_ignore_ascii_case(key))
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Page> {
        self.pages.get(&id.parse::<u64>().ok()?)?.now.as_ref()
    }

    pub(crate) fn space(&self, id: u64) -> Option<&Space> {
        self.spaces.get(&id)
    }

    pub(crate) fn visible_spaces(&self) -> impl Iterator<Item = &Space> {
        self.spaces.values().filter(|space| space.visible)
    }

    /// The pages of a space as listings see them: late by the replication lag.
    pub(crate) fn listed_pages(&self, space: u64) -> Vec<&Page> {
        let lag = self.quirks.replication_lag;
        if lag.is_zero() {
            return self.sorted_pages(space, "id", false, None).into_iter().flatten().collect();
        }
        let moment = self.time_ms() - milliseconds(lag);
        let pages = self.pages.values().filter_map(|record| record.as_of(moment));
        pages.filter(|page| page.space == space).collect()
    }

    /// The pages of a space by `field` and id, those behind `after` only; none where the site keeps no such order.
    pub(crate) fn sorted_pages(
        &self,
        space: u64,
        field: &str,
        descending: bool,
        after: Option<(i64, u64)>,
    ) -> Option<Box<dyn Iterator<Item = &Page> + '_>> {
        if !self.quirks.replication_lag.is_zero() {
            return None;
        }
        static NONE: Sorted = Sorted { by_id: BTreeSet::new(), by_modification: BTreeSet::new() };
        let sorted = self.by_space.get(&space).unwrap_or(&NONE);
        let keys = match field {
            "id" => &sorted.by_id,
            "modified-date" => &sorted.by_modification,
            _ => return None,
        };
        let page = |(_, id): &(i64, u64)| self.pages.get(id)?.now.as_ref();
        Some(match (descending, after) {
            (false, None) => Box::new(keys.iter().filter_map(page)),
            (false, Some(after)) => {
                Box::new(keys.range((Bound::Excluded(after), Bound::Unbounded)).filter_map(page))
            }
            (true, None) => Box::new(keys.iter().rev().filter_map(page)),
            (true, Some(after)) => Box::new(keys.range(..after).rev().filter_map(page)),
        })
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Page)) -> bool {
        let Some(mut page) = self.find(id).cloned() else { return false };
        change(&mut page);
        self.replace(page.id, Some(page));
        true
    }

    fn new_version(&mut self, id: &str, change: impl FnOnce(&mut Page)) -> bool {
        let now = self.now_ms();
        self.change(id, |page| {
            change(page);
            page.version += 1;
            page.modified = now.max(page.modified);
        })
    }

    fn replace(&mut self, id: u64, page: Option<Page>) {
        let (lag, time) = (self.quirks.replication_lag, self.time_ms());
        let earlier = self.set(id, page);
        let Some(record) = self.pages.get_mut(&id) else { return };
        if lag.is_zero() {
            record.before.clear();
        } else {
            record.before.retain(|(end, _)| time - end <= milliseconds(lag));
            record.before.push_back((time, earlier));
        }
    }

    /// What a known page is from now on, in the orders of its space, too; what it was before.
    fn set(&mut self, id: u64, page: Option<Page>) -> Option<Page> {
        let record = self.pages.get_mut(&id)?;
        let earlier = std::mem::replace(&mut record.now, page);
        if let Some(page) = &earlier
            && let Some(sorted) = self.by_space.get_mut(&page.space)
        {
            sorted.by_id.remove(&(id as i64, id));
            sorted.by_modification.remove(&(page.modified, id));
        }
        if let Some(page) = &record.now {
            let sorted = self.by_space.entry(page.space).or_default();
            sorted.by_id.insert((id as i64, id));
            sorted.by_modification.insert((page.modified, id));
        }
        earlier
    }

    /// Where the site says that it is. A site that was started knows.
    pub fn set_base_url(&mut self, base_url: &str) {
        base_url.clone_into(&mut self.base_url);
    }

    /// Stops the clock at this time, in milliseconds since 1970. Without this it is that of the machine.
    pub fn set_time(&mut self, milliseconds: i64) {
        self.time = Some(milliseconds);
    }

    /// The answer to a GET for `path_and_query`, without a network and without a server that counts.
    pub fn get(&self, path_and_query: &str, authorization: Option<&str>) -> PlainAnswer {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let answer = if self.accepts(authorization) {
            endpoints::answer(self, &Endpoint::of(path), query)
        } else {
            Answer::generic_not_found()
        };
        let date = self.quirks.send_date.then(|| httpdate::fmt_http_date(self.clock()));
        PlainAnswer { status: answer.status, date, body: answer.body.into_bytes().1 }
    }

    fn time_ms(&self) -> i64 {
        self.time.unwrap_or_else(|| DateTime::<Utc>::from(SystemTime::now()).timestamp_millis())
    }

    /// The server's clock.
    pub(crate) fn clock(&self) -> SystemTime {
        let now = match self.time {
            Some(time) => UNIX_EPOCH + Duration::from_millis(time.unsigned_abs()),
            None => SystemTime::now(),
        };
        let skew = self.quirks.clock_skew;
        let moved = match skew.to_std() {
            Ok(ahead) => now.checked_add(ahead),
            Err(_) => skew.abs().to_std().ok().and_then(|behind| now.checked_sub(behind)),
        };
        moved.unwrap_or(now)
    }

    fn now_ms(&self) -> i64 {
        DateTime::<Utc>::from(self.clock()).timestamp_millis()
    }
}

/// An answer without a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainAnswer {
    /// Its status.
    pub status: u16,
    /// Its `Date` header.
    pub date: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The one form of time that v2 writes.
pub(crate) fn rfc3339(milliseconds: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(milliseconds).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
