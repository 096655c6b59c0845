//! What the exports do: validate a source, list spaces, walk the pages of a space, read one page.
//!
//! A page listing is a walk of requests; each call takes one step and returns the cursor of the next. Where no token
//! is given the walk is by id (edits do not disturb it). With a token it is newest first: a probe without bodies
//! counts what is new (an idle space costs that one small request), then a second pass reads as many with bodies.
//!
//! Bodies travel with the listing. Where Confluence cannot deliver a stretch with bodies, the stretch shrinks, and at
//! last its pages are listed without bodies and read one by one: a page that no request can bring is one
//! [`Failure`], and the walk goes on.

use crate::api::{
    Client, ListError, Listing, MAXIMUM_LIMIT, Page, PageQuery, Sort, Space, SpaceQuery, Unreadable,
};
use crate::cursor::{Cursor, LoopGuard, Pass, SpaceCursor};
use crate::delta::{NewestFirst, Timestamp, listing_start, next_token, predicate};
use crate::document::{Batch, Carry, Change, Document, Failure, Metadata, Partition, Partitions, Reference};
use crate::error::Error;
use crate::markdown::{self, Notice};
use crate::source::{Site, Source, pinned_space};
use crate::transport::Transport;

/// First stretch with bodies: large enough for few requests, small enough for a slow site (facts B5).
const FIRST_READ: u32 = 100;

/// Stretch with bodies at which shrinking ends and pages are read one by one.
const SMALLEST_READ: u32 = 10;

/// Bytes of an answer with bodies that stretches grow to: few requests for common pages, bounded memory for large ones.
const WANTED_ANSWER: usize = 3 << 20;

/// First stretch of a probe.
const FIRST_PROBE: u32 = 25;

/// Checks the fields of a source, its credential, and that a pinned space is visible.
///
/// # Errors
/// [`Error::InvalidSource`], [`Error::Authentication`] also for 403 and for an account that sees no space at all,
/// [`Error::NotFound`] naming the space; otherwise what [`Client::list_spaces`] gives.
pub fn validate(source: &Source, transport: &impl Transport) -> Result<(), Error> {
    let pinned = pinned_space(source, None)?;
    let client = Client::new(Site::new(source)?, transport);
    let visible =
        client.list_spaces(SpaceQuery { limit: 1, ..SpaceQuery::default() }).map_err(
            |error| match error {
                Error::Forbidden(text) => {
                    Error::Authentication(format!("{text}; check email, api_token and base_url"))
                }
                error => error,
            },
        )?;
    match pinned {
        Some(key) => find_space(&client, key).map(drop),
        None if visible.items.is_empty() && visible.next.is_none() => Err(Error::Authentication(
            "the account sees no space, as a caller without a credential would; check email, api_token and the account's access to Confluence"
                .to_owned(),
        )),
        None => Ok(()),
    }
}

/// Lists one page of the spaces that a sync covers, in the order of their ids.
///
/// # Errors
/// [`Error::NotFound`] for a pinned space that is not visible; otherwise what [`Client::list_spaces`] gives.
pub fn list_partitions(
    source: &Source,
    scope_path: Option<&str>,
    cursor: Option<&str>,
    transport: &impl Transport,
) -> Result<Partitions, Error> {
    let pinned = pinned_space(source, scope_path)?;
    let client = Client::new(Site::new(source)?, transport);
    if let Some(key) = pinned {
        return Ok(Partitions { items: vec![find_space(&client, key)?], next: None });
    }
    let cursor = cursor.map(SpaceCursor::decode).transpose()?;
    let (after, mut loop_guard) =
        cursor.map_or((None, LoopGuard::default()), |c| (Some(c.after), c.loop_guard));
    let listing = client.list_spaces(SpaceQuery {
        limit: MAXIMUM_LIMIT,
        after: after.as_deref(),
        ..SpaceQuery::default()
    })?;
    let next = match listing.next {
        Some(after) => {
            loop_guard.see(&after)?;
            Some(SpaceCursor { after, loop_guard }.encode())
        }
        None => None,
    };
    let items = listing
        .items
        .into_iter()
        .map(|space| Partition { id: space.id, key: space.key, name: space.name })
        .collect();
    Ok(Partitions { items, next })
}

/// Finds a current space by its key or its alias. Confluence's filter by key is not known to work for all of them (facts
/// B5), so only a listing without it, to its end, says that there is none.
fn find_space(client: &Client<'_, impl Transport>, key: &str) -> Result<Partition, Error> {
    let wanted = key.to_lowercase();
    let named = |name: &str| name.to_lowercase() == wanted;
    let found = |spaces: Vec<Space>| {
        let space = spaces.iter().position(|space| named(&space.key));
        let space =
            space.or_else(|| spaces.iter().position(|space| space.alias.as_deref().is_some_and(named)));
        space.and_then(|at| spaces.into_iter().nth(at))
    };
    let (mut filter, mut after) = (Some(key), None::<String>);
    let mut loop_guard = LoopGuard::default();
    loop {
        let query = SpaceQuery { key: filter, limit: MAXIMUM_LIMIT, after: after.as_deref(), id: None };
        let listing = client.list_spaces(query)?;
        if let Some(space) = found(listing.items) {
            return Ok(Partition { id: space.id, key: space.key, name: space.name });
        }
        match (filter.take(), listing.next) {
            (Some(_), _) => {}
            (None, Some(next)) => {
                loop_guard.see(&next)?;
                after = Some(next);
            }
            (None, None) => break,
        }
    }
    Err(Error::NotFound(format!(
        "space {key}: there is none, it is archived, or the account may not view it; check space_key (or --scope-path)"
    )))
}

/// Lists one stretch of the current pages of a space; with a token, only pages modified after it.
///
/// # Errors
/// [`Error::StaleCursor`] where the listing has to start over; any other error leaves the cursor good for a new try.
pub fn discover(
    source: &Source,
    partition: &Partition,
    since: Option<&str>,
    carry: Carry,
    cursor: Option<&str>,
    transport: &impl Transport,
) -> Result<Batch, Error> {
    if !is_id(&partition.id) {
        return Err(Error::Malformed(format!("{:?} is not the id of a space", partition.id)));
    }
    let since = since.map(|token| {
        Timestamp::parse(token).ok_or_else(|| Error::Malformed(format!("{token:?} is not a delta token")))
    });
    let since = since.transpose()?;
    let client = Client::new(Site::new(source)?, transport);
    let cursor = match cursor {
        Some(text) => Cursor::decode(text, &partition.id, since, carry)?,
        None => first(partition, since, carry),
    };
    Walk { client: &client, partition, cursor }.step()
}

fn first(partition: &Partition, since: Option<Timestamp>, carry: Carry) -> Cursor {
    let (pass, limit) = match (since, carry) {
        (Some(_), Carry::Documents) => (Pass::Probe, FIRST_PROBE),
        (Some(_), Carry::References) => (Pass::Read, FIRST_PROBE),
        (None, Carry::Documents) => (Pass::Read, FIRST_READ),
        (None, Carry::References) => (Pass::Read, MAXIMUM_LIMIT),
    };
    Cursor {
        partition: partition.id.clone(),
        since,
        carry,
        pass,
        limit,
        after: None,
        start: None,
        newest: None,
        fresh: 0,
        order: NewestFirst::default(),
        without_predicate: false,
        before: Vec::new(),
        loop_guard: LoopGuard::default(),
    }
}

/// Reads one page.
///
/// # Errors
/// [`Error::NotFound`] for a page that Confluence says is gone, in the trash or archived; nothing else ever means
/// that a page is gone.
pub fn fetch(source: &Source, id: &str, transport: &impl Transport) -> Result<Document, Error> {
    let client = Client::new(Site::new(source)?, transport);
    if !is_id(id) {
        return Err(Error::Malformed(format!("{id:?} is not the id of a page")));
    }
    let page = client.get_page(id)?;
    let space_key = match page.web_path.as_deref().and_then(space_key_of_path) {
        Some(key) => key.to_owned(),
        None => space_key_by_id(&client, &page)?,
    };
    let mut notices = Notices::default();
    document(&client, page, &space_key, &mut notices)
}

/// The key in `/spaces/KEY/pages/...`.
fn space_key_of_path(path: &str) -> Option<&str> {
    path.strip_prefix("/spaces/")?.split(['/', '?', '#']).next().filter(|key| !key.is_empty())
}

fn space_key_by_id(client: &Client<'_, impl Transport>, page: &Page) -> Result<String, Error> {
    let nameless = || Error::Malformed(format!("the answer does not say which space page {} is in", page.id));
    let id = page.space_id.as_deref().filter(|id| is_id(id)).ok_or_else(nameless)?;
    let listing = client.list_spaces(SpaceQuery { id: Some(id), limit: 1, ..SpaceQuery::default() })?;
    listing.items.into_iter().find(|space| space.id == id).map(|space| space.key).ok_or_else(nameless)
}

/// Ids are strings of digits; anything else must not get into a path.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 20 && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// One step of a page listing.
struct Walk<'a, T> {
    client: &'a Client<'a, T>,
    partition: &'a Partition,
    cursor: Cursor,
}

type Stretch = Listing<Result<Page, Unreadable>>;

impl<T: Transport> Walk<'_, T> {
    fn step(mut self) -> Result<Batch, Error> {
        match (self.cursor.pass, self.cursor.carry) {
            (Pass::Probe, _) => self.probe(),
            (Pass::Read, Carry::References) => {
                let stretch = self.list(false, self.cursor.limit)?;
                self.cursor.limit = doubled(self.cursor.limit);
                self.emit(stretch, false)
            }
            (Pass::Read, Carry::Documents) => self.read(),
        }
    }

    /// Counts what is new, newest first, without bodies. Emits nothing.
    fn probe(mut self) -> Result<Batch, Error> {
        let stretch = self.list(false, self.cursor.limit)?;
        for item in &stretch.items {
            match item {
                Ok(page) if self.is_new(page.modified_at) => {
                    self.cursor.fresh = self.cursor.fresh.saturating_add(1)
                }
                Ok(_) => {}
                // Nobody knows when it was modified: the second pass reports it.
                Err(_) => self.cursor.fresh = self.cursor.fresh.saturating_add(1),
            }
            self.note_order(item);
        }
        // One older page after an unbroken run of newer ones is enough: a page that the second pass meets beyond
        // this count is read there all the same.
        let ended = stretch.next.is_none() || self.cursor.order.may_end();
        if !ended {
            self.cursor.limit = doubled(self.cursor.limit);
            return self.go_on(Batch::default(), stretch.next);
        }
        if self.cursor.fresh == 0 {
            return Ok(self.end(Batch::default()));
        }
        // One more than is new, so that the pass meets an older page and ends with its last request.
        self.cursor.limit = self.cursor.fresh.saturating_add(1).min(FIRST_READ);
        self.cursor.pass = Pass::Read;
        self.cursor.after = None;
        self.cursor.order = self.cursor.order.again();
        self.cursor.loop_guard = LoopGuard::default();
        Ok(Batch { next: Some(self.cursor.encode()), ..Batch::default() })
    }

    /// Reads a stretch with bodies, smaller ones where Confluence cannot deliver it, single pages at last.
    fn read(mut self) -> Result<Batch, Error> {
        let mut limit = self.cursor.limit;
        loop {
            match self.list(true, limit) {
                Ok(stretch) => {
                    // Shrunken or not, the next stretch may be larger again; a second pass asks for what is left.
                    let read = u32::try_from(stretch.items.len()).unwrap_or(u32::MAX);
                    let fitting = fitting(limit, read, stretch.bytes);
                    self.cursor.limit = match self.cursor.since {
                        None => fitting,
                        Some(_) => {
                            self.cursor.fresh = self.cursor.fresh.saturating_sub(read);
                            self.cursor.fresh.saturating_add(1).min(fitting).max(SMALLEST_READ)
                        }
                    };
                    return self.emit(stretch, true);
                }
                Err(Error::Unavailable(_) | Error::TooLarge(_) | Error::Malformed(_))
                    if limit > SMALLEST_READ =>
                {
                    limit = (limit / 2).max(SMALLEST_READ);
                }
                Err(Error::Unavailable(_) | Error::TooLarge(_) | Error::Malformed(_)) => break,
                Err(error) => return Err(error),
            }
        }
        let stretch = self.list(false, limit)?;
        self.cursor.limit = limit;
        self.emit(stretch, true)
    }

    fn list(&mut self, bodies: bool, limit: u32) -> Result<Stretch, Error> {
        loop {
            let predicate = self.cursor.since.filter(|_| !self.cursor.without_predicate).map(predicate);
            let answer = self.client.list_pages(PageQuery {
                space_id: &self.partition.id,
                sort: if self.cursor.since.is_some() { Sort::NewestFirst } else { Sort::Id },
                bodies,
                limit,
                predicate: predicate.as_deref(),
                after: self.cursor.after.as_deref(),
            });
            match answer {
                Ok(stretch) => {
                    if self.cursor.start.is_none() {
                        let now = self.client.transport().now();
                        self.cursor.start = Some(listing_start(stretch.date.as_deref(), now));
                    }
                    return Ok(stretch);
                }
                Err(ListError::PredicateRefused) => self.cursor.without_predicate = true,
                Err(ListError::Failed(error)) => return Err(error),
            }
        }
    }

    /// Turns a stretch into changes. Where `bodies` are wanted and the stretch has none, pages are read one by one.
    fn emit(mut self, stretch: Stretch, bodies: bool) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        let mut notices = Notices::default();
        let mut ids = Vec::with_capacity(stretch.items.len());
        for item in stretch.items {
            self.note_order(&item);
            let id = match &item {
                Ok(page) => page.id.parse::<u64>(),
                Err(unreadable) => unreadable.id.parse::<u64>(),
            };
            if let Ok(id) = id {
                if self.cursor.before.binary_search(&id).is_ok() || ids.contains(&id) {
                    continue;
                }
                ids.push(id);
            }
            match item {
                Ok(page) if !self.is_new(page.modified_at) => {}
                // A listing of current pages holds no others (facts B2); one that does is not believed.
                Ok(page) if page.status != "current" => {}
                Ok(page) => {
                    self.cursor.newest = self.cursor.newest.max(Some(page.modified_at));
                    batch.changes.push(self.change(page, bodies, &mut notices)?);
                }
                Err(Unreadable { id, title, cause }) => {
                    batch.changes.push(Change::Failure(Failure { id, title, cause }))
                }
            }
        }
        ids.sort_unstable();
        self.cursor.before = ids;
        batch.notices = notices.into_list();
        if self.cursor.since.is_some() && self.cursor.order.may_end() {
            return Ok(self.end(batch));
        }
        if stretch.next.is_none() && self.cursor.fresh > 0 {
            // Fewer pages than the first pass counted: some went meanwhile, or the answer left some out. The token stays
            // where it is, so that the next run looks again.
            return Ok(Batch { delta_token: self.cursor.since, ..batch });
        }
        self.go_on(batch, stretch.next)
    }

    fn change(&self, page: Page, bodies: bool, notices: &mut Notices) -> Result<Change, Error> {
        if !bodies {
            return Ok(Change::Reference(reference(self.client, &page, &self.partition.key)));
        }
        let (id, title) = (page.id.clone(), page.title.clone());
        let failed =
            |cause| Ok(Change::Failure(Failure { id: id.clone(), title: Some(title.clone()), cause }));
        let page = if page.storage.is_some() {
            page
        } else {
            match self.client.get_page(&page.id) {
                Ok(page) => page,
                // These are about the whole walk and not about this page: it stops here and can go on later.
                Err(error @ (Error::Authentication(_) | Error::RateLimited(_))) => return Err(error),
                Err(cause) => return failed(cause),
            }
        };
        match document(self.client, page, &self.partition.key, notices) {
            Ok(document) => Ok(Change::Document(document)),
            Err(cause) => failed(cause),
        }
    }

    fn is_new(&self, modified_at: Timestamp) -> bool {
        self.cursor.since.is_none_or(|since| modified_at > since)
    }

    fn note_order(&mut self, item: &Result<Page, Unreadable>) {
        if let (Ok(page), Some(since)) = (item, self.cursor.since) {
            self.cursor.order.see(page.modified_at, since);
        }
    }

    fn go_on(mut self, mut batch: Batch, next: Option<String>) -> Result<Batch, Error> {
        let Some(after) = next else { return Ok(self.end(batch)) };
        self.cursor.loop_guard.see(&after)?;
        self.cursor.after = Some(after);
        batch.next = Some(self.cursor.encode());
        Ok(batch)
    }

    fn end(self, mut batch: Batch) -> Batch {
        batch.delta_token = match self.cursor.start {
            Some(start) => next_token(self.cursor.since, self.cursor.newest, start),
            None => self.cursor.since,
        };
        batch
    }
}

/// The limit after one that brought so many pages in so many bytes: as many as [`WANTED_ANSWER`] holds of such pages,
/// but no more than twice as many as before.
fn fitting(limit: u32, pages: u32, bytes: usize) -> u32 {
    let each = (bytes / pages.max(1) as usize).max(1);
    let wanted = u32::try_from(WANTED_ANSWER / each).unwrap_or(u32::MAX);
    wanted.min(doubled(limit)).max(SMALLEST_READ)
}

fn doubled(limit: u32) -> u32 {
    limit.saturating_mul(2).min(MAXIMUM_LIMIT)
}

fn reference(client: &Client<'_, impl Transport>, page: &Page, space_key: &str) -> Reference {
    let web_url = match &page.web_path {
        Some(path) => format!("{}/wiki{path}", client.site().base_url()),
        None => format!("{}/wiki/spaces/{space_key}/pages/{}", client.site().base_url(), page.id),
    };
    Reference {
        id: page.id.clone(),
        title: page.title.clone(),
        modified_at: page.modified_at,
        metadata: Metadata {
            web_url,
            space_key: space_key.to_owned(),
            version_number: page.version_number,
            created_at: page.created_at,
            created_by_display_name: None,
        },
    }
}

fn document(
    client: &Client<'_, impl Transport>,
    page: Page,
    space_key: &str,
    notices: &mut Notices,
) -> Result<Document, Error> {
    if page.status != "current" {
        return Err(Error::NotFound(format!("page {} is {}", page.id, page.status)));
    }
    // A page without text has an empty body; a page without a body is a wrong answer (facts A4).
    let Some(storage) = page.storage.as_deref() else {
        return Err(Error::Malformed(format!("Confluence sent page {} without body.storage.value", page.id)));
    };
    let converted = markdown::convert(&markdown::Page {
        id: &page.id,
        title: &page.title,
        space_key,
        base_url: client.site().base_url(),
        storage,
    });
    notices.add(converted.notices);
    Ok(Document { reference: reference(client, &page, space_key), content: converted.text })
}

/// Adds notices up by name.
#[derive(Default)]
struct Notices(std::collections::BTreeMap<String, u32>);

impl Notices {
    fn add(&mut self, notices: Vec<Notice>) {
        for Notice { what, count } in notices {
            let sum = self.0.entry(what).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    fn into_list(self) -> Vec<Notice> {
        self.0.into_iter().map(|(what, count)| Notice { what, count }).collect()
    }
}
