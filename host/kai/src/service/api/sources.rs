//! Sources: what is synced, with which account, in which scope, and when.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use chrono::Utc;
use kai_host::Source as Registered;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::runs::Run;
use crate::access_key::random_id;
use crate::sealed_token::SealedToken;
use crate::service::Service;
use crate::service::access::Access;
use crate::service::extract::{Json, Path, Query};
use crate::service::problem::{Kind, Problem};
use crate::service::run_queue::next_run;
use crate::source_file::{Document, Registration, SecretText};
use crate::store::{
    DEFAULT_FULL_EVERY, DEFAULT_TENANT, SourceFilter, SourceOverview, SourceRecord, SqliteStore, StoreError,
};
use crate::validation;

/// How long Confluence has to say whether a source is good; less than a request has.
const VALIDATION_TIME: Duration = Duration::from_secs(25);

/// Seconds: below, runs would only keep the site busy.
const SHORTEST_INTERVAL: u64 = 60;

/// Seconds: ten years.
const LONGEST_INTERVAL: u64 = 315_360_000;

/// A source. Its token never comes back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Source {
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) tenant_id: String,
    /// `CONFLUENCE`.
    pub(crate) kind: String,
    /// Workspace root.
    pub(crate) base_url: String,
    /// Account.
    pub(crate) email: String,
    /// The one space that is read.
    pub(crate) space_key: Option<String>,
    /// Wins over `space_key`.
    pub(crate) scope_path: Option<String>,
    pub(crate) cloud_id: Option<String>,
    /// Whether the service has its token. Without one it was synced from a file by the command line, and no run begins.
    pub(crate) token_kept: bool,
    /// Documents that there are of it.
    pub(crate) documents: u64,
    /// Pages that could not be had.
    pub(crate) failures: u64,
    /// When runs begin by themselves; none: only when somebody asks for one.
    pub(crate) schedule: Option<Schedule>,
    /// When the next run begins by itself: RFC 3339, UTC.
    pub(crate) next_run_at: Option<String>,
    /// The run that waits or is under way, or else the last one.
    pub(crate) last_run: Option<Run>,
}

impl Source {
    /// With its last run.
    fn read(store: &SqliteStore, overview: SourceOverview) -> Result<Self, StoreError> {
        let last_run = store.service_runs(&overview.source.id, None, 1)?.pop().map(Run::from);
        let schedule = overview.schedule.run_every.map(|every| Schedule {
            run_every_seconds: every.as_secs(),
            full_every_seconds: overview.schedule.full_every.unwrap_or(DEFAULT_FULL_EVERY).as_secs(),
        });
        Ok(Self {
            id: overview.source.id,
            tenant_id: overview.tenant_id,
            kind: overview.source.kind,
            base_url: overview.source.base_url,
            email: overview.source.email,
            space_key: overview.space_key,
            scope_path: overview.scope_path,
            cloud_id: overview.cloud_id,
            token_kept: overview.token_kept,
            documents: overview.documents,
            failures: overview.failures,
            next_run_at: overview.schedule.next_run_at.filter(|_| schedule.is_some()),
            schedule,
            last_run,
        })
    }

    /// What is read, for people.
    pub(crate) fn scope(&self) -> Option<&str> {
        self.scope_path.as_deref().or(self.space_key.as_deref())
    }
}

/// When runs begin by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedule {
    /// From the end of a run to the next, give or take a tenth.
    #[schema(minimum = 60, maximum = 315360000)]
    pub(crate) run_every_seconds: u64,
    /// Only a full run finds what was deleted: how long ago the last one may be before a run is full. A day by default.
    #[serde(default = "one_day")]
    #[schema(minimum = 60, maximum = 315360000, default = 86400)]
    pub(crate) full_every_seconds: u64,
}

fn one_day() -> u64 {
    DEFAULT_FULL_EVERY.as_secs()
}

impl Schedule {
    /// As the store has it. Its first run is an interval away.
    fn to_store(self) -> Result<crate::store::Schedule, Problem> {
        for (field, seconds) in
            [("run_every_seconds", self.run_every_seconds), ("full_every_seconds", self.full_every_seconds)]
        {
            if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&seconds) {
                return Err(Problem::invalid(format!(
                    "schedule.{field} is {seconds}: write {SHORTEST_INTERVAL} to {LONGEST_INTERVAL} seconds"
                )));
            }
        }
        let every = Duration::from_secs(self.run_every_seconds);
        Ok(crate::store::Schedule {
            run_every: Some(every),
            full_every: Some(Duration::from_secs(self.full_every_seconds)),
            next_run_at: Some(next_run(Utc::now(), every, &mut rand::rng()).to_rfc3339()),
        })
    }
}

/// A source to be registered: the registration document, and what the service adds to it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSource {
    /// `CONFLUENCE`.
    pub(crate) kind: String,
    /// Workspace root, such as `https://your-org.atlassian.net`.
    #[schema(pattern = r"\S")]
    pub(crate) base_url: String,
    /// Account.
    #[schema(pattern = r"\S")]
    pub(crate) email: String,
    /// API token of that account. Kept sealed; it never comes back.
    #[schema(value_type = String, format = Password, pattern = r"\S")]
    pub(crate) api_token: SecretText,
    /// The one space to read; none: every visible one.
    #[serde(default)]
    pub(crate) space_key: Option<String>,
    /// Wins over `space_key`: also as `/spaces/KEY`.
    #[serde(default)]
    pub(crate) scope_path: Option<String>,
    /// Id of the site, for tokens with scopes.
    #[serde(default)]
    pub(crate) cloud_id: Option<String>,
    /// Whose it is. Only for the administration, for whom it is `default` if left out.
    #[serde(default)]
    pub(crate) tenant_id: Option<String>,
    /// When runs begin by themselves; none: only when somebody asks for one.
    #[serde(default)]
    pub(crate) schedule: Option<Schedule>,
}

impl NewSource {
    fn registration(self) -> Result<Registration, Problem> {
        let document = Document {
            kind: self.kind,
            base_url: self.base_url,
            email: self.email,
            api_token: Some(self.api_token),
            space_key: self.space_key.filter(|key| !key.trim().is_empty()),
            scope_path: self.scope_path.filter(|path| !path.trim().is_empty()),
            cloud_id: self.cloud_id.filter(|id| !id.trim().is_empty()),
        };
        Registration::from_document(document, None)
            .map_err(|reason| Problem::invalid_source(reason).at_field())
    }
}

/// What of a source is to be changed; what is left out stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceChange {
    /// Another API token for the same account.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, pattern = r"\S")]
    pub(crate) api_token: Option<SecretText>,
    /// Another space; null: every visible one. The next run is a full one and begins anew; what is out of the new scope
    /// is removed by it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub(crate) space_key: Option<Option<String>>,
    /// Likewise.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub(crate) scope_path: Option<Option<String>>,
    /// Another schedule; null: runs begin only when somebody asks for one.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Schedule>)]
    pub(crate) schedule: Option<Option<Schedule>>,
}

/// Tells null from what is left out.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Whether a source can be synced.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Validated {
    /// Always true: what is wrong is a problem.
    pub(crate) valid: bool,
    /// What is read, for people.
    pub(crate) scope: String,
}

/// A list of sources.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sources {
    pub(crate) sources: Vec<Source>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SourcesQuery {
    /// Of this tenant; for the administration.
    pub(crate) tenant_id: Option<String>,
}

/// The source, where it is one of those who ask.
pub(crate) async fn find(service: &Service, access: &Access, id: &str) -> Result<SourceOverview, Problem> {
    let (tenant_id, id) = (access.tenant_id().map(str::to_owned), id.to_owned());
    let found = service.readers.read(access.tenant_id(), move |store| {
        store.source_overviews_of(SourceFilter { tenant_id: tenant_id.as_deref(), id: Some(&id) })
    });
    found.await?.pop().ok_or_else(|| Problem::not_found("source"))
}

/// The source with its last run, where it is one of those who ask.
pub(crate) async fn one(service: &Service, access: &Access, id: &str) -> Result<Source, Problem> {
    let overview = find(service, access, id).await?;
    with_run(service, access, overview).await
}

/// The source, where it is one of those who ask, and whose it is. Without what there is of it: the more that is, the longer
/// it takes to count.
pub(crate) async fn owned(
    service: &Service,
    access: &Access,
    id: &str,
) -> Result<(SourceRecord, String), Problem> {
    let (tenant_id, id) = (access.tenant_id().map(str::to_owned), id.to_owned());
    let found = service.readers.read(access.tenant_id(), move |store| {
        store.source_and_tenant(SourceFilter { tenant_id: tenant_id.as_deref(), id: Some(&id) })
    });
    found.await?.ok_or_else(|| Problem::not_found("source"))
}

async fn with_run(service: &Service, access: &Access, overview: SourceOverview) -> Result<Source, Problem> {
    service.readers.read(access.tenant_id(), move |store| Source::read(store, overview)).await
}

/// The sources of those who ask.
pub(crate) async fn all(
    service: &Service,
    access: &Access,
    tenant_id: Option<&str>,
) -> Result<Vec<Source>, Problem> {
    let tenant_id = match access.tenant_id() {
        Some(_) => Some(access.tenant_for(tenant_id)?),
        None => tenant_id.map(str::to_owned),
    };
    let found = service.readers.read(access.tenant_id(), move |store| {
        let filter = SourceFilter { tenant_id: tenant_id.as_deref(), id: None };
        let sources = store.source_overviews_of(filter)?.into_iter();
        sources.map(|overview| Source::read(store, overview)).collect()
    });
    found.await
}

/// Asks Confluence whether the source is good.
async fn ask(service: &Service, registration: &Registration) -> Result<(), Problem> {
    let asked = validation::validate(&service.connector, registration);
    match tokio::time::timeout(VALIDATION_TIME, asked).await {
        Ok(answer) => Ok(answer.map_err(|error| Problem::from(error).at_field())?),
        Err(_) => {
            let detail = format!("{} did not answer in time; try again", registration.source.base_url);
            Err(Problem::new(StatusCode::BAD_GATEWAY, Kind::Unavailable, detail).at_field())
        }
    }
}

/// Checks a source and keeps it.
pub(crate) async fn add(service: &Service, access: &Access, new: NewSource) -> Result<Source, Problem> {
    let tenant_id = access.tenant_for(new.tenant_id.as_deref())?;
    let schedule = new.schedule.map(Schedule::to_store).transpose()?;
    let mut registration = new.registration()?;
    let (wanted, tenant) = (registration.clone(), tenant_id.clone());
    let known = service.readers.read(access.tenant_id(), move |store| {
        let same = store.same_source(&tenant, &wanted)?;
        let tenant_exists = store.tenants()?.iter().any(|known| known.id == tenant);
        let id = wanted.id();
        // One that was synced from a file is taken over with its documents.
        let of_a_file = SourceFilter { tenant_id: Some(&tenant), id: Some(&id) };
        let of_a_file = store.source_overviews_of(of_a_file)?.iter().any(|source| !source.token_kept);
        Ok((same, tenant_exists, store.has_source(&id)? && !of_a_file))
    });
    let (same, tenant_exists, id_taken) = known.await?;
    if !tenant_exists {
        return Err(Problem::not_found("tenant"));
    }
    if let Some(id) = same {
        return Err(Problem::conflict(format!(
            "source {id} has this site, account and scope already; change that one"
        )));
    }
    // Only the id of a source of the default tenant may be known before: the command line names its sources so.
    if tenant_id != DEFAULT_TENANT || id_taken {
        registration.registered_as = Some(random_id().map_err(Problem::internal)?);
    }
    ask(service, &registration).await?;
    let sealed = SealedToken::seal(&service.master_key, &registration).map_err(Problem::internal)?;
    let id = registration.id();
    let stored = service.store.with(move |store| {
        // Once more, now that nobody else changes anything: it may have come, or its tenant gone, while Confluence was
        // asked.
        if let Some(id) = store.same_source(&tenant_id, &registration)? {
            return Err(Problem::conflict(format!("source {id} was registered a moment ago")));
        }
        if !store.tenants()?.iter().any(|known| known.id == tenant_id) {
            return Err(Problem::not_found("tenant"));
        }
        store.add_source(&tenant_id, &registration, &sealed)?;
        if let Some(schedule) = schedule {
            store.set_schedule(&registration.id(), &schedule)?;
        }
        Ok(())
    });
    stored.await?;
    let overview = find(service, access, &id).await?;
    service.runner.schedule(&overview);
    with_run(service, access, overview).await
}

/// Changes a source. A new token or scope is tried at Confluence first; where it is no good, nothing changes.
pub(crate) async fn update(
    service: &Service,
    access: &Access,
    id: &str,
    change: SourceChange,
) -> Result<Source, Problem> {
    let overview = find(service, access, id).await?;
    let schedule = match change.schedule {
        None => None,
        Some(None) => Some(crate::store::Schedule::default()),
        Some(Some(schedule)) => Some(schedule.to_store()?),
    };
    if schedule.as_ref().is_some_and(|schedule| schedule.run_every.is_some()) && !overview.token_kept {
        return Err(without_token());
    }
    let rescoped = change.space_key.is_some() || change.scope_path.is_some();
    if rescoped || change.api_token.is_some() {
        let token = change.api_token.map(|token| token.0);
        if token.as_ref().is_some_and(|token| token.expose_secret().trim().is_empty()) {
            return Err(Problem::invalid("api_token is empty").at_field());
        }
        let mut registration = opened(service, access, id, token.clone()).await?;
        let before = registration.clone();
        let given = |value: Option<String>| value.filter(|text| !text.trim().is_empty());
        if let Some(space_key) = change.space_key {
            registration.source.space_key = given(space_key);
        }
        if let Some(scope_path) = change.scope_path {
            registration.scope_path = given(scope_path);
        }
        let rescoped = registration.source.space_key != before.source.space_key
            || registration.scope_path != before.scope_path;
        // Its id stays, whatever its scope becomes.
        registration.registered_as = Some(id.to_owned());
        let busy = || {
            Problem::conflict(
                "a run of the source waits or is under way: cancel it, or wait for its end, before the scope changes",
            )
        };
        let source_id = id.to_owned();
        let is_busy =
            service.readers.read(access.tenant_id(), move |store| store.has_unended_run(&source_id));
        if rescoped && is_busy.await? {
            return Err(busy());
        }
        ask(service, &registration).await?;
        let sealed = token
            .map(|_| SealedToken::seal(&service.master_key, &registration))
            .transpose()
            .map_err(Problem::internal)?;
        let tenant_id = overview.tenant_id.clone();
        let stored = service.store.with(move |store| {
            // One that began meanwhile would go on in the old scope.
            if rescoped && store.has_unended_run(&registration.id())? {
                return Err(busy());
            }
            let same = store.same_source(&tenant_id, &registration)?.filter(|_| rescoped);
            if let Some(same) = same.filter(|same| *same != registration.id()) {
                return Err(Problem::conflict(format!("source {same} reads that scope already")));
            }
            if let Some(sealed) = sealed {
                store.replace_token(&registration.id(), &sealed)?;
            }
            if rescoped {
                store.change_scope(&registration)?;
            }
            Ok(())
        });
        stored.await?;
    }
    if let Some(schedule) = schedule {
        let id = overview.source.id.clone();
        service.store.with(move |store| store.set_schedule(&id, &schedule)).await?;
    }
    let overview = find(service, access, id).await?;
    service.runner.schedule(&overview);
    with_run(service, access, overview).await
}

/// The registration of a source with its token, or with another one.
async fn opened(
    service: &Service,
    access: &Access,
    id: &str,
    token: Option<SecretString>,
) -> Result<Registration, Problem> {
    let (tenant_id, id) = (access.tenant_id().map(str::to_owned), id.to_owned());
    let found = service.readers.read(access.tenant_id(), move |store| {
        store.registered_sources_of(SourceFilter { tenant_id: tenant_id.as_deref(), id: Some(&id) })
    });
    let source = found.await?.pop().ok_or_else(without_token)?;
    Ok(match token {
        Some(token) => source.with_token(token, &service.master_key)?,
        None => source.open(&service.master_key)?,
    })
}

fn without_token() -> Problem {
    Problem::conflict("the source was synced from a file and has no token here: register it")
}

/// Removes a source with its documents, whatever is under way of it.
pub(crate) async fn delete(service: &Service, access: &Access, id: &str) -> Result<u64, Problem> {
    let overview = find(service, access, id).await?;
    service.runner.unschedule(id);
    service.runner.stop_source(id).await;
    let source_id = id.to_owned();
    let removed = service.store.with(move |store| store.remove_source(&source_id)).await?;
    // A run may have been asked for in between; it finds no source.
    service.runner.unschedule(id);
    service.feed.ring(&overview.tenant_id);
    removed.ok_or_else(|| Problem::not_found("source"))
}

/// Asks Confluence whether a registered source is still good.
pub(crate) async fn try_again(service: &Service, access: &Access, id: &str) -> Result<Validated, Problem> {
    find(service, access, id).await?;
    let registration = opened(service, access, id, None).await?;
    ask(service, &registration).await?;
    Ok(validated(&registration.source, registration.scope()))
}

/// Lists the sources
#[utoipa::path(get, path = "/sources", operation_id = "list_sources", tag = "sources", params(SourcesQuery),
    responses((status = 200, description = "The sources.", body = Sources)))]
pub(crate) async fn list(
    State(service): State<Service>,
    access: Access,
    Query(query): Query<SourcesQuery>,
) -> Result<axum::Json<Sources>, Problem> {
    let sources = all(&service, &access, query.tenant_id.as_deref()).await?;
    Ok(axum::Json(Sources { sources }))
}

/// Registers a source
///
/// The credential and the space are tried at Confluence before anything is stored.
#[utoipa::path(post, path = "/sources", operation_id = "register_source", tag = "sources", request_body = NewSource,
    responses(
        (status = 201, description = "It is registered.", body = Source, headers(("location" = String))),
        (status = 409, description = "There is one like it.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Something is wrong with it.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn register(
    State(service): State<Service>,
    access: Access,
    Json(new): Json<NewSource>,
) -> Result<(StatusCode, [(HeaderName, String); 1], axum::Json<Source>), Problem> {
    let source = add(&service, &access, new).await?;
    let location = (header::LOCATION, format!("{}/sources/{}", super::BASE, source.id));
    Ok((StatusCode::CREATED, [location], axum::Json(source)))
}

/// Reads a source
#[utoipa::path(get, path = "/sources/{source_id}", operation_id = "read_source", tag = "sources", params(("source_id" = String, Path)),
    responses((status = 200, description = "The source.", body = Source)))]
pub(crate) async fn read(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
) -> Result<axum::Json<Source>, Problem> {
    Ok(axum::Json(one(&service, &access, &id).await?))
}

/// Changes a source
///
/// A new token or scope is tried at Confluence first; where it is no good, nothing changes.
#[utoipa::path(patch, path = "/sources/{source_id}", operation_id = "change_source", tag = "sources", params(("source_id" = String, Path)),
    request_body = SourceChange,
    responses((status = 200, description = "The source as it is now.", body = Source)))]
pub(crate) async fn change(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
    Json(change): Json<SourceChange>,
) -> Result<axum::Json<Source>, Problem> {
    Ok(axum::Json(update(&service, &access, &id, change).await?))
}

/// Removes a source
///
/// With all its documents; followers of the changes are told of each. What is under way of it is stopped.
#[utoipa::path(delete, path = "/sources/{source_id}", operation_id = "remove_source", tag = "sources", params(("source_id" = String, Path)),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn remove(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    delete(&service, &access, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tries a source again
///
/// Asks Confluence whether the credential is good and the space is there, as when it was registered.
#[utoipa::path(post, path = "/sources/{source_id}/validate", operation_id = "validate_source", tag = "sources", params(("source_id" = String, Path)),
    responses((status = 200, description = "It is good.", body = Validated)))]
pub(crate) async fn validate(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
) -> Result<axum::Json<Validated>, Problem> {
    Ok(axum::Json(try_again(&service, &access, &id).await?))
}

/// Tries a source that is not registered
///
/// Nothing is stored.
#[utoipa::path(post, path = "/validations", operation_id = "validate_document", tag = "sources", request_body = NewSource,
    responses((status = 200, description = "It is good.", body = Validated)))]
pub(crate) async fn validate_document(
    State(service): State<Service>,
    access: Access,
    Json(new): Json<NewSource>,
) -> Result<axum::Json<Validated>, Problem> {
    access.tenant_for(new.tenant_id.as_deref())?;
    new.schedule.map(Schedule::to_store).transpose()?;
    let registration = new.registration()?;
    ask(&service, &registration).await?;
    Ok(axum::Json(validated(&registration.source, registration.scope())))
}

fn validated(source: &Registered, scope: Option<&str>) -> Validated {
    let scope = scope.map_or_else(|| "every visible space".to_owned(), |scope| format!("space {scope}"));
    Validated { valid: true, scope: format!("{scope} of {}", source.base_url) }
}
