//! One call in one fresh instance: what it may import, what it may use up, and what its end means.

use std::sync::Arc;

use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use tracing::Instrument as _;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{Engine, PoolConcurrencyLimitError, ResourceLimiter, Store, Trap, UpdateDeadline};
use wasmtime_wasi::{I32Exit, ResourceTableError, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::bindings::{Confluence, ConfluencePre};
use crate::error::CallError;
use crate::guest_log::GuestLog;
use crate::host::EPOCH;
use crate::limits::{Limit, Limits};
use crate::metrics;
use crate::tenant::{CallBudget, Tenant};

/// Everything of WASI that a connector gets, in every 0.2 version; all else is foreign.
pub(crate) const ALLOWED_IMPORTS: [&str; 20] = [
    "wasi:cli/environment@",
    "wasi:cli/exit@",
    "wasi:cli/stderr@",
    "wasi:cli/stdin@",
    "wasi:cli/stdout@",
    "wasi:cli/terminal-input@",
    "wasi:cli/terminal-output@",
    "wasi:cli/terminal-stderr@",
    "wasi:cli/terminal-stdin@",
    "wasi:cli/terminal-stdout@",
    "wasi:clocks/monotonic-clock@",
    "wasi:clocks/wall-clock@",
    "wasi:http/outgoing-handler@",
    "wasi:http/types@",
    "wasi:io/error@",
    "wasi:io/poll@",
    "wasi:io/streams@",
    "wasi:random/insecure-seed@",
    "wasi:random/insecure@",
    "wasi:random/random@",
];

/// Bytes of headers that a guest may write for one request.
const HEADER_BYTES: usize = 16 << 10;

/// Bytes of randomness that a guest may ask for at once.
const RANDOM_BYTES: u64 = 64 << 10;

/// Core instances, tables and memories of one component; a Rust component has three, two and one.
const PIECES: usize = 32;

/// Links [`ALLOWED_IMPORTS`], and nothing else.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
    use wasmtime_wasi::p2::bindings::{cli, random};
    use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};

    let mut linker = Linker::new(engine);
    let l = &mut linker;
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(l)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(l)?;
    random::insecure::add_to_linker::<State, WasiRandom>(l, State::random)?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(l, State::random)?;
    cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    Ok(linker)
}

/// A call of an export under way.
pub(crate) type Calling<'a, T> = BoxFuture<'a, wasmtime::Result<T>>;

/// Runs `call` on a fresh instance, within `limits`. Without a tenant there is no network.
///
/// # Errors
/// The guest's own error is in `T`; a [`CallError`] is a call that did not come to its end.
pub(crate) async fn run<T, F>(
    pre: &ConfluencePre<State>,
    limits: Limits,
    tenant: Option<Arc<Tenant>>,
    call: F,
) -> Result<T, CallError>
where
    F: for<'a> FnOnce(&'a Confluence, &'a mut Store<State>) -> Calling<'a, T>,
{
    let budget = Arc::new(CallBudget::new(limits.requests, limits.response_body));
    let log = GuestLog::new(limits.log);
    let mut store = store(pre.engine(), limits, Hooks { tenant, budget: Arc::clone(&budget) }, &log);
    let work = async {
        let instance = pre.instantiate_async(&mut store).await?;
        call(&instance, &mut store).await
    };
    let result = tokio::select! {
        result = work => result.map_err(|error| explain(&error, &log)),
        () = budget.clock.reaches(limits.wall) => Err(CallError::Limit(Limit::Wall)),
    };
    metrics::memory_peak(limits.memory.saturating_sub(store.data().limiter.memory));
    log.finish();
    result
}

fn store(engine: &Engine, limits: Limits, hooks: Hooks, log: &GuestLog) -> Store<State> {
    let mut wasi = WasiCtx::builder();
    wasi.stdout(log.clone()).stderr(log.clone()).max_random_size(RANDOM_BYTES);
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(HEADER_BYTES);
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles);
    let limiter = Limiter { memory: limits.memory, table_elements: limits.table_elements };
    let mut store = Store::new(engine, State { wasi: wasi.build(), http, table, hooks, limiter });
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(limits.result);
    store.set_max_component_handles(limits.handles);
    // Counts the times that the guest was found computing: a guest that waits for the network is never found.
    let ticks = u64::try_from(limits.cpu.as_nanos() / EPOCH.as_nanos()).unwrap_or(u64::MAX);
    let mut left = ticks;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| match left.checked_sub(1) {
        Some(less) => {
            left = less;
            Ok(UpdateDeadline::Yield(1))
        }
        None => Err(Exceeded(Limit::Cpu).into()),
    });
    store
}

/// What the end of a call means, read from the chain of its causes.
fn explain(error: &wasmtime::Error, log: &GuestLog) -> CallError {
    if let Some(Exceeded(limit)) = error.downcast_ref() {
        return CallError::Limit(*limit);
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return CallError::Busy;
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return CallError::Crashed(format!("it left with exit code {code}"));
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        return CallError::Limit(Limit::Handles);
    }
    let root = error.root_cause().to_string();
    // All three are private types of wasmtime; the hostile-component tests notice when it words them anew.
    if root.contains("fuel allocated for hostcalls") {
        return CallError::Limit(Limit::Result);
    }
    if root.contains("store handle limit exceeded") {
        return CallError::Limit(Limit::Handles);
    }
    if root.contains("total size of fields exceeds limit") {
        return CallError::Limit(Limit::Headers);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => CallError::Limit(Limit::Stack),
        Some(trap) => CallError::Crashed(
            log.finish().map_or_else(|| trap.to_string(), |line| format!("{trap}: {line}")),
        ),
        None => CallError::Crashed(root),
    }
}

/// What belongs to one call.
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: Hooks,
    limiter: Limiter,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// The limit that a guest ran into, on its way through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("the limit of {0} is reached")]
struct Exceeded(Limit);

/// Counts down over all memories and tables of a call together.
struct Limiter {
    memory: usize,
    table_elements: usize,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        take(&mut self.memory, current, desired, Limit::Memory)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        take(&mut self.table_elements, current, desired, Limit::TableElements)
    }

    fn instances(&self) -> usize {
        PIECES
    }

    fn tables(&self) -> usize {
        PIECES
    }

    fn memories(&self) -> usize {
        PIECES
    }
}

fn take(left: &mut usize, current: usize, desired: usize, limit: Limit) -> wasmtime::Result<bool> {
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(less) => {
            *left = less;
            Ok(true)
        }
        None => Err(Exceeded(limit).into()),
    }
}

/// Takes a guest's requests to its tenant.
struct Hooks {
    tenant: Option<Arc<Tenant>>,
    budget: Arc<CallBudget>,
}

type HttpError = wasmtime_wasi_http::Error;
type Transmission = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Sending = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Transmission), HttpError>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Transmission,
    ) -> Sending {
        let (tenant, budget) = (self.tenant.clone(), Arc::clone(&self.budget));
        // Only GET leaves, so a body is never sent; what the guest wrote into one is dropped here.
        let request = request.map(drop);
        let sending = async move {
            let tenant = tenant.ok_or(HttpError::HttpRequestDenied)?;
            let response = tenant.send(request, &budget).await?;
            let response = response.map(|body| Full::new(body).map_err(HttpError::from).boxed_unsync());
            let done: Transmission = Box::new(async { Ok(()) });
            Ok((response, done))
        };
        // It runs in a task of its own, and is told of in the log as a part of this call all the same.
        Box::new(sending.in_current_span())
    }

    /// The HTTP client writes its own.
    fn set_host_header(&mut self) -> bool {
        false
    }
}
