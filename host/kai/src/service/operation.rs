//! What those ask who keep the service running: whether it lives, whether it is ready, and what it counts.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Service;
use super::access::Access;
use super::problem::{Kind, Problem};

pub(super) fn router(service: Service) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(service)
}

/// Whether documents can be read and runs begin.
async fn ready(State(service): State<Service>) -> Result<&'static str, Problem> {
    let unready = |what: &str| {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable, what);
        Problem { retry_after: Some(5), ..problem }
    };
    if service.stopping.is_cancelled() {
        return Err(unready("the service is about to end"));
    }
    service.readers.read(None, |store| store.last_change()).await?;
    Ok("ready\n")
}

/// In the text format of Prometheus. It counts what all tenants do, so it is for the administration.
async fn metrics(State(service): State<Service>, access: Access) -> Result<Response, Problem> {
    access.administration()?;
    let Some(handle) = &service.metrics else {
        return Err(Problem::internal("another part of this process took the recorder of metrics"));
    };
    let (waiting, running) = service.runner.counts();
    metrics::gauge!("kai_runs_waiting").set(waiting as f64);
    metrics::gauge!("kai_runs_running").set(running as f64);
    let behind = service.readers.read(None, |store| store.search_behind()).await?;
    metrics::gauge!("kai_search_behind_changes").set(behind as f64);
    handle.run_upkeep();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response())
}
