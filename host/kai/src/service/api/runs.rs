//! Runs: asked for, listed, watched, stopped.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::sources;
use crate::service::Service;
use crate::service::access::Access;
use crate::service::extract::{Json, Path, Query};
use crate::service::problem::{Kind, Problem, RunProblem};
use crate::store::{RunState, ServiceRun};
use crate::summary::Mode;

/// Progress is told at most that often.
const PACE: Duration = Duration::from_millis(250);

/// Runs of a list, unless fewer are asked for.
const RUNS: u32 = 50;

/// A run of a source.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) source_id: String,
    /// What was asked for.
    pub(crate) mode: Mode,
    /// Whether it removes what is gone however much that is.
    pub(crate) confirm_removals: bool,
    /// Where it stands.
    pub(crate) state: RunState,
    /// RFC 3339, UTC; likewise below.
    pub(crate) queued_at: String,
    pub(crate) started_at: Option<String>,
    pub(crate) ended_at: Option<String>,
    /// What it came to, in the shape of `kai sync --json`.
    #[schema(value_type = Option<Object>)]
    pub(crate) summary: Option<serde_json::Value>,
    /// Why it did not come to its end, or what it refused to do.
    pub(crate) problem: Option<RunProblem>,
    /// Documents that the source had at its end.
    pub(crate) documents: Option<u64>,
}

impl From<ServiceRun> for Run {
    fn from(run: ServiceRun) -> Self {
        Self {
            id: run.asked.id,
            source_id: run.asked.source_id,
            mode: run.asked.mode,
            confirm_removals: run.asked.confirm_removals,
            state: run.state,
            queued_at: run.queued_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
            summary: run.summary.and_then(|text| serde_json::from_str(&text).ok()),
            problem: run.problem.and_then(|text| serde_json::from_str(&text).ok()),
            documents: run.documents,
        }
    }
}

/// An event of a run.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is written as text")]
pub(crate) struct RunEvent {
    event: RunEventName,
    /// Of `progress` a `RunProgress`, of `end` a `Run`, in JSON.
    #[schema(content_media_type = "application/json")]
    data: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes what is written as text")]
pub(crate) enum RunEventName {
    Progress,
    End,
}

/// A list of runs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Runs {
    pub(crate) runs: Vec<Run>,
    /// Goes on with older ones, as `before`; none: these were the oldest.
    pub(crate) next: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunsQuery {
    /// Only runs before the one with this id.
    pub(crate) before: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 50, default = 50)]
    pub(crate) limit: Option<u32>,
}

/// A run to begin.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRun {
    #[serde(default)]
    pub(crate) mode: Mode,
}

/// A run of a source of those who ask.
async fn find(service: &Service, access: &Access, source_id: &str, id: &str) -> Result<ServiceRun, Problem> {
    sources::owned(service, access, source_id).await?;
    let (source_id, id) = (source_id.to_owned(), id.to_owned());
    let run = service.readers.read(access.tenant_id(), move |store| store.service_run(&source_id, &id));
    run.await?.ok_or_else(|| Problem::not_found("run"))
}

pub(crate) async fn all(
    service: &Service,
    access: &Access,
    source_id: &str,
    query: RunsQuery,
) -> Result<Runs, Problem> {
    let limit = query.limit.unwrap_or(RUNS);
    if !(1..=RUNS).contains(&limit) {
        return Err(Problem::invalid(format!("limit is {limit}: write 1 to {RUNS}")));
    }
    sources::owned(service, access, source_id).await?;
    let id = source_id.to_owned();
    let found = service
        .readers
        .read(access.tenant_id(), move |store| store.service_runs(&id, query.before.as_deref(), limit));
    let runs: Vec<Run> = found.await?.into_iter().map(Run::from).collect();
    let next = runs.last().filter(|_| runs.len() == limit as usize).map(|run| run.id.clone());
    Ok(Runs { runs, next })
}

pub(crate) async fn start(
    service: &Service,
    access: &Access,
    source_id: &str,
    mode: Mode,
    confirm_removals: bool,
) -> Result<Run, Problem> {
    let source = sources::find(service, access, source_id).await?;
    Ok(service.runner.request(&source, mode, confirm_removals).await?.into())
}

pub(crate) async fn stop(
    service: &Service,
    access: &Access,
    source_id: &str,
    id: &str,
) -> Result<Run, Problem> {
    let run = find(service, access, source_id, id).await?;
    if !service.runner.cancel(source_id, id).await {
        return Err(Problem::conflict(format!("the run is {} already", run.state.name())));
    }
    Ok(find(service, access, source_id, id).await?.into())
}

pub(crate) async fn confirm(
    service: &Service,
    access: &Access,
    source_id: &str,
    id: &str,
) -> Result<Run, Problem> {
    let run: Run = find(service, access, source_id, id).await?.into();
    if run.problem.is_none_or(|problem| problem.kind != Kind::RemovalsRefused) {
        return Err(Problem::conflict("the run refused no removals"));
    }
    start(service, access, source_id, Mode::Full, true).await
}

type Begun = (StatusCode, [(HeaderName, String); 1], axum::Json<Run>);

fn begun(run: Run) -> Begun {
    let location = format!("{}/sources/{}/runs/{}", super::BASE, run.source_id, run.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], axum::Json(run))
}

/// Lists the runs of a source
#[utoipa::path(get, path = "/sources/{source_id}/runs", operation_id = "list_runs", tag = "runs", params(("source_id" = String, Path), RunsQuery),
    responses((status = 200, description = "The runs, the newest first.", body = Runs)))]
pub(crate) async fn list(
    State(service): State<Service>,
    access: Access,
    Path(source_id): Path<String>,
    Query(query): Query<RunsQuery>,
) -> Result<axum::Json<Runs>, Problem> {
    Ok(axum::Json(all(&service, &access, &source_id, query).await?))
}

/// Begins a run
///
/// Of a source, one run is under way at a time, and one may wait.
#[utoipa::path(post, path = "/sources/{source_id}/runs", operation_id = "begin_run", tag = "runs", params(("source_id" = String, Path)),
    request_body = NewRun,
    responses(
        (status = 202, description = "It waits for its turn.", body = Run, headers(("location" = String))),
        (status = 409, description = "One waits already.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn begin(
    State(service): State<Service>,
    access: Access,
    Path(source_id): Path<String>,
    Json(new): Json<NewRun>,
) -> Result<Begun, Problem> {
    Ok(begun(start(&service, &access, &source_id, new.mode, false).await?))
}

/// Reads a run
#[utoipa::path(get, path = "/sources/{source_id}/runs/{run_id}", operation_id = "read_run", tag = "runs",
    params(("source_id" = String, Path), ("run_id" = String, Path)),
    responses((status = 200, description = "The run.", body = Run)))]
pub(crate) async fn read(
    State(service): State<Service>,
    access: Access,
    Path((source_id, id)): Path<(String, String)>,
) -> Result<axum::Json<Run>, Problem> {
    Ok(axum::Json(find(&service, &access, &source_id, &id).await?.into()))
}

/// Stops a run
///
/// What it wrote stays; the next run goes on from there.
#[utoipa::path(post, path = "/sources/{source_id}/runs/{run_id}/cancel", operation_id = "cancel_run", tag = "runs",
    params(("source_id" = String, Path), ("run_id" = String, Path)),
    responses(
        (status = 202, description = "It comes to its end.", body = Run, headers(("location" = String))),
        (status = 409, description = "It has come to its end.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn cancel(
    State(service): State<Service>,
    access: Access,
    Path((source_id, id)): Path<(String, String)>,
) -> Result<Begun, Problem> {
    Ok(begun(stop(&service, &access, &source_id, &id).await?))
}

/// Confirms the removals that a run refused
///
/// Begins a full run that removes what is gone from Confluence however much that is.
#[utoipa::path(post, path = "/sources/{source_id}/runs/{run_id}/confirm-removals", operation_id = "confirm_removals", tag = "runs",
    params(("source_id" = String, Path), ("run_id" = String, Path)),
    responses(
        (status = 202, description = "The run that removes them.", body = Run, headers(("location" = String))),
        (status = 409, description = "It refused none.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn confirm_removals(
    State(service): State<Service>,
    access: Access,
    Path((source_id, id)): Path<(String, String)>,
) -> Result<Begun, Problem> {
    Ok(begun(confirm(&service, &access, &source_id, &id).await?))
}

/// Follows a run
///
/// Server-sent events: `progress` with how it comes along, at most four a second, and at last one `end` with the run.
#[utoipa::path(get, path = "/sources/{source_id}/runs/{run_id}/events", operation_id = "follow_run", tag = "runs",
    params(("source_id" = String, Path), ("run_id" = String, Path)),
    responses((status = 200, description = "Events.", body = RunEvent, content_type = "text/event-stream")))]
pub(crate) async fn events(
    State(service): State<Service>,
    access: Access,
    Path((source_id, id)): Path<(String, String)>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let stored = find(&service, &access, &source_id, &id).await?;
    let watched = service.runner.live(&id).map(|live| live.watch());
    let stopping = service.stopping.clone();
    let state = (watched, true, false);
    let follow = futures::stream::unfold(state, move |(mut watched, first, over)| {
        let (service, access, stored) = (service.clone(), access.clone(), stored.clone());
        let (source_id, id) = (source_id.clone(), id.clone());
        async move {
            if over {
                return None;
            }
            if let Some(progress) = &mut watched {
                if !first {
                    tokio::time::sleep(PACE).await;
                }
                let more = first || progress.changed().await.is_ok();
                let seen = progress.borrow_and_update().clone();
                if more {
                    return Some((Ok(event("progress", &seen)), (watched, false, false)));
                }
            }
            let run = match find(&service, &access, &source_id, &id).await {
                Ok(run) => Run::from(run),
                // Its source was removed, which stops it.
                Err(problem) if problem.kind == Kind::NotFound => {
                    Run { state: RunState::Cancelled, ..Run::from(stored) }
                }
                // The client comes back.
                Err(_) => return None,
            };
            Some((Ok(event("end", &run)), (None, false, true)))
        }
    });
    let follow = futures::StreamExt::take_until(follow, stopping.cancelled_owned());
    Ok(Sse::new(follow).keep_alive(KeepAlive::new().interval(Duration::from_secs(20))))
}

/// An event with JSON in it.
pub(crate) fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}
