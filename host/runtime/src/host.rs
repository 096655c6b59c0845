//! The engine that all tenants of a process share, and the loading of components.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;
use wasmtime::component::{Component, Linker};
use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
};

use crate::bindings::ConfluencePre;
use crate::client::{self, Client, HttpTimeouts};
use crate::credential::Credential;
use crate::digest::sha256_hex;
use crate::egress::{Egress, HostPattern};
use crate::error::{BuildError, CallError, LoadError, RegistryError, SourceError};
use crate::gate::Gate;
use crate::limits::Limits;
use crate::reference::RegistryReference;
use crate::registry::{Pull, RegistryCredential};
use crate::retry::RetryPolicy;
use crate::sandbox::{self, ALLOWED_IMPORTS, State};
use crate::session::{Artifact, Connector, Loaded};
use crate::source::Source;
use crate::tenant::{Counters, Tenant};

/// The interface that a connector exports.
pub const CONTRACT: &str = "kai:connector/connector@0.1.0";

/// Largest component: the Confluence connector has about half a megabyte.
const LARGEST_COMPONENT: u64 = 64 << 20;

/// How often a computing guest is looked at.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);

/// Memory of a pooled instance that is written over when it ends, instead of given back: bringing pages in again takes
/// the next instance longer. What a short call touches fits in. Of what a batch touches, a third would save 5 % of its
/// time, and keep 4 MiB of each call that was ever at once.
const KEPT_MEMORY: usize = 256 << 10;

/// The same of each table.
const KEPT_TABLE: usize = 64 << 10;

/// Builds a [`Host`]. Every setting has a default that suits production.
#[derive(Debug, Clone)]
pub struct HostBuilder {
    limits: Limits,
    retry: RetryPolicy,
    timeouts: HttpTimeouts,
    allow_local: bool,
    extra_ca_file: Option<PathBuf>,
    cache_directory: Option<PathBuf>,
    pooled_instances: Option<u32>,
    allowed_hosts: Vec<HostPattern>,
    registry_credentials: HashMap<String, RegistryCredential>,
    calls: usize,
    calls_per_tenant: usize,
    tenants: usize,
}

impl Default for HostBuilder {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            timeouts: HttpTimeouts::default(),
            allow_local: false,
            extra_ca_file: None,
            cache_directory: None,
            pooled_instances: None,
            allowed_hosts: Vec::new(),
            registry_credentials: HashMap::new(),
            calls: 256,
            calls_per_tenant: 16,
            tenants: 10_000,
        }
    }
}

impl HostBuilder {
    /// What one call may use up.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How requests are repeated.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// How long the parts of a request may take.
    #[must_use]
    pub fn http_timeouts(mut self, timeouts: HttpTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Allows `http` and private addresses: for test sites only. Registries on this machine (`localhost`, `127.0.0.1`,
    /// `[::1]`) are then spoken to over plain http, all others over https as ever. Default: not allowed.
    #[must_use]
    pub fn allow_local(mut self, allow: bool) -> Self {
        self.allow_local = allow;
        self
    }

    /// Trusts the certificate authorities in this PEM file, besides those of the system.
    #[must_use]
    pub fn extra_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.extra_ca_file = Some(path.into());
        self
    }

    /// Keeps compiled components in this directory, which nobody else may be able to write to: what lies there is run
    /// as it is. It is made, readable by its owner only, where it does not exist. Default: none are kept.
    #[must_use]
    pub fn cache_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.cache_directory = Some(path.into());
        self
    }

    /// Reserves address space for this many calls at once, which makes each start in microseconds; a call beyond them
    /// is [`CallError::Busy`]. Takes about 4 GiB of address space (not of memory) each; of memory, those that were in
    /// use at once keep half a MiB at most.
    /// Default: none are reserved, and the number of calls is unbounded.
    #[must_use]
    pub fn pooled_instances(mut self, instances: u32) -> Self {
        self.pooled_instances = Some(instances);
        self
    }

    /// Allows only sources on these hosts: `acme.atlassian.net`, or `*.atlassian.net` for every name below it. Sources
    /// with a `cloud_id` reach `api.atlassian.com`. Default: all public hosts.
    #[must_use]
    pub fn allowed_hosts<P: AsRef<str>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.allowed_hosts = patterns.into_iter().map(|pattern| HostPattern::new(pattern.as_ref())).collect();
        self
    }

    /// What to show to this registry (host and port, as in a [`RegistryReference`]) when a component is pulled from it.
    /// It goes to this registry, and a password also to the token service that the registry names; never to where a
    /// redirect leads. Default: registries are asked without a credential.
    #[must_use]
    pub fn registry_credential(mut self, registry: &str, credential: RegistryCredential) -> Self {
        self.registry_credentials.insert(registry.trim().to_ascii_lowercase(), credential);
        self
    }

    /// Calls at once, of all tenants; more wait for their turn. Each takes up to [`Limits::memory`]. Default 256.
    #[must_use]
    pub fn concurrent_calls(mut self, calls: usize) -> Self {
        self.calls = calls.max(1);
        self
    }

    /// Calls at once of one tenant; more wait for their turn. Default 16.
    #[must_use]
    pub fn concurrent_calls_per_tenant(mut self, calls: usize) -> Self {
        self.calls_per_tenant = calls.max(1);
        self
    }

    /// Tenants with live sessions; one more is [`SourceError::TooManyTenants`]. A tenant goes with its last session.
    /// Default 10,000.
    #[must_use]
    pub fn live_tenants(mut self, tenants: usize) -> Self {
        self.tenants = tenants;
        self
    }

    /// Builds the host.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(self) -> Result<Host, BuildError> {
        let engine =
            Engine::new(&self.config()?).map_err(|error| BuildError::Engine(format!("{error:#}")))?;
        let linker = sandbox::linker(&engine).map_err(|error| BuildError::Engine(format!("{error:#}")))?;
        let tls = client::tls(self.extra_ca_file.as_deref())?;
        start_epochs(&engine)?;
        Ok(Host(Arc::new(Inner {
            engine,
            linker,
            tls,
            calls: Semaphore::new(self.calls),
            running: TaskTracker::new(),
            cancelled: CancellationToken::new(),
            settings: self,
            gates: Mutex::default(),
            tenants: Mutex::default(),
            next_tenant: AtomicU64::new(0),
            next_call: AtomicU64::new(0),
        })))
    }

    fn config(&self) -> Result<Config, BuildError> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            // Proposals that a connector has no use for are only surface.
            .wasm_multi_memory(false)
            .wasm_memory64(false);
        if let Some(directory) = &self.cache_directory {
            let unusable = |reason: String| BuildError::Cache { path: directory.clone(), reason };
            create_private(directory).map_err(|error| unusable(error.to_string()))?;
            let mut cache = CacheConfig::new();
            cache.with_directory(directory);
            // After 256 uses an entry would be compressed anew, which takes 200 MiB for a moment and saves next to nothing.
            cache.with_optimized_compression_usage_counter_threshold(u64::MAX);
            config.cache(Some(Cache::new(cache).map_err(|error| unusable(format!("{error:#}")))?));
        }
        if let Some(instances) = self.pooled_instances {
            let mut pool = PoolingAllocationConfig::new();
            pool.total_component_instances(instances)
                .total_core_instances(instances.saturating_mul(4))
                .total_memories(instances)
                .total_tables(instances.saturating_mul(4))
                .total_stacks(instances)
                .max_memories_per_component(1)
                .max_tables_per_component(4)
                .table_elements(self.limits.table_elements)
                .max_memory_size(self.limits.memory)
                .linear_memory_keep_resident(KEPT_MEMORY)
                .table_keep_resident(KEPT_TABLE)
                // Only what a guest touched is written over, where the kernel (Linux 6.7) tells what that is.
                .pagemap_scan(Enabled::Auto);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        Ok(config)
    }
}

/// Loads connectors and runs their calls. Cheap to clone; one serves a whole process.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    engine: Engine,
    /// Never cloned: instances of all components come from this one.
    linker: Linker<State>,
    tls: rustls::ClientConfig,
    settings: HostBuilder,
    calls: Semaphore,
    running: TaskTracker,
    cancelled: CancellationToken,
    gates: Mutex<HashMap<String, Arc<Gate>>>,
    tenants: Mutex<HashMap<TenantKey, Weak<Tenant>>>,
    next_tenant: AtomicU64,
    next_call: AtomicU64,
}

/// Sessions with the same key share connections, credential and statistics.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TenantKey {
    site: String,
    email: String,
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Host").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// Where a component comes from. In all cases it has 64 MiB at most.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ComponentSource {
    /// A file.
    File(PathBuf),
    /// Its bytes.
    Bytes(Vec<u8>),
    /// An OCI registry, where it lies as `wkg oci push` puts it: the one layer of type `application/wasm` of the
    /// manifest with this digest. Pulled anew by each load, over https, with the host's [`HttpTimeouts`] for each
    /// request, its extra CA file and the proxies of the environment; see also [`HostBuilder::registry_credential`].
    /// Requests are not repeated. The registry may have a private address, so take references from operators, not from
    /// tenants.
    Registry(RegistryReference),
}

impl Host {
    /// A host with its defaults changed.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Checks and compiles a component; with a warm cache this takes milliseconds. Compiling is not interrupted: load
    /// only components that were vetted.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load(&self, source: ComponentSource) -> Result<Connector, LoadError> {
        Ok(Connector::new(self.clone(), self.compile(source).await?))
    }

    /// Takes no new calls, lets the running ones end for `grace`, and ends those that are left. When it returns, no
    /// guest runs any more. Sessions stay, but each call is [`CallError::ShuttingDown`].
    pub async fn shut_down(&self, grace: Duration) {
        self.0.calls.close();
        self.0.running.close();
        if tokio::time::timeout(grace, self.0.running.wait()).await.is_err() {
            self.0.cancelled.cancel();
            self.0.running.wait().await;
        }
    }

    pub(crate) async fn compile(&self, source: ComponentSource) -> Result<Loaded, LoadError> {
        let bytes = match source {
            ComponentSource::Bytes(bytes) => Bytes::from(bytes),
            ComponentSource::File(path) => blocking(move || read(&path)).await?,
            ComponentSource::Registry(reference) => self.pull(&reference).await?,
        };
        let host = self.clone();
        blocking(move || host.compile_blocking(&bytes)).await
    }

    async fn pull(&self, reference: &RegistryReference) -> Result<Bytes, LoadError> {
        let settings = &self.0.settings;
        let client = Client::for_registry(self.0.tls.clone(), settings.timeouts).map_err(|error| {
            RegistryError::Unavailable {
                registry: reference.registry().to_owned(),
                reason: error.to_string(),
            }
        })?;
        let credential = settings.registry_credentials.get(reference.registry());
        let pull = Pull { client, reference, credential, allow_local: settings.allow_local };
        let bytes = pull.component(LARGEST_COMPONENT).await?;
        info!(%reference, "component pulled");
        Ok(bytes)
    }

    fn compile_blocking(&self, bytes: &[u8]) -> Result<Loaded, LoadError> {
        check_size(bytes.len() as u64)?;
        check_format(bytes)?;
        let invalid = |error: wasmtime::Error| LoadError::Invalid(format!("{error:#}"));
        let component = Component::from_binary(&self.0.engine, bytes).map_err(invalid)?;
        let artifact = self.examine(&component, bytes)?;
        let pre = self.0.linker.instantiate_pre(&component).map_err(invalid)?;
        let pre = ConfluencePre::new(pre).map_err(invalid)?;
        info!(digest = artifact.digest, size = artifact.size, "component loaded");
        Ok(Loaded { pre, artifact })
    }

    fn examine(&self, component: &Component, bytes: &[u8]) -> Result<Artifact, LoadError> {
        let ty = component.component_type();
        let imports: Vec<String> = ty.imports(&self.0.engine).map(|(name, _)| name.to_owned()).collect();
        let exports: Vec<String> = ty.exports(&self.0.engine).map(|(name, _)| name.to_owned()).collect();
        let allowed = |name: &str| {
            ALLOWED_IMPORTS
                .iter()
                .any(|allowed| name.strip_prefix(allowed).is_some_and(|version| version.starts_with("0.2.")))
                || name.starts_with("kai:connector/types@")
        };
        let foreign: Vec<String> = imports.iter().filter(|name| !allowed(name)).cloned().collect();
        if !foreign.is_empty() {
            return Err(LoadError::ForeignImports(foreign));
        }
        if !exports.iter().any(|name| name == CONTRACT) {
            return Err(LoadError::Contract { contract: CONTRACT, exports });
        }
        Ok(Artifact { digest: sha256_hex(bytes), size: bytes.len() as u64, imports, exports })
    }

    pub(crate) fn limits(&self) -> Limits {
        self.0.settings.limits
    }

    /// Tells the calls of a process apart, in its log.
    pub(crate) fn call_number(&self) -> u64 {
        self.0.next_call.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for this call's turn among all of the host's.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, CallError> {
        self.0.calls.acquire().await.map_err(|_| CallError::ShuttingDown)
    }

    /// The calls that a shutdown waits for.
    pub(crate) fn running(&self) -> &TaskTracker {
        &self.0.running
    }

    /// Ends when running calls have to.
    pub(crate) async fn cancelled(&self) {
        self.0.cancelled.cancelled().await;
    }

    /// The tenant of this account on this site: the living one with its token replaced, or a new one.
    pub(crate) fn tenant(&self, source: &Source) -> Result<Arc<Tenant>, SourceError> {
        let settings = &self.0.settings;
        let egress = Egress::new(&source.base_url, source.cloud_id.as_deref(), settings.allow_local)?;
        egress.check_policy(&settings.allowed_hosts)?;
        let key = TenantKey { site: egress.site(), email: source.email.clone() };
        let mut tenants = lock(&self.0.tenants);
        if let Some(tenant) = tenants.get(&key).and_then(Weak::upgrade) {
            tenant.credential.rotate(source.api_token.clone());
            return Ok(tenant);
        }
        tenants.retain(|_, tenant| tenant.strong_count() > 0);
        if tenants.len() >= settings.tenants {
            return Err(SourceError::TooManyTenants(tenants.len()));
        }
        let client = Client::new(self.0.tls.clone(), settings.timeouts, &egress)
            .map_err(|error| SourceError::Client(error.to_string()))?;
        let tenant = Arc::new(Tenant {
            id: self.0.next_tenant.fetch_add(1, Ordering::Relaxed),
            credential: Credential::new(source.api_token.clone()),
            gate: self.gate(egress.site()),
            egress,
            client,
            retry: settings.retry,
            counters: Counters::default(),
            calls: Arc::new(Semaphore::new(settings.calls_per_tenant)),
        });
        tenants.insert(key, Arc::downgrade(&tenant));
        Ok(tenant)
    }

    fn gate(&self, site: String) -> Arc<Gate> {
        let mut gates = lock(&self.0.gates);
        if let Some(gate) = gates.get(&site) {
            return Arc::clone(gate);
        }
        // What a site asked for outlives the last session to it: the next one may come before its time is over. How
        // many are remembered is bounded, as any site may ask for years.
        let mut remembered = 0;
        gates.retain(|_, gate| {
            let in_use = Arc::strong_count(gate) > 1;
            let kept = in_use || (gate.closed_until().is_some() && remembered < self.0.settings.tenants);
            remembered += usize::from(kept && !in_use);
            kept
        });
        let gate = Gate::new();
        gates.insert(site, Arc::clone(&gate));
        gate
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread a process; it ends with the engine.
fn start_epochs(engine: &Engine) -> Result<(), BuildError> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(EPOCH);
        }
    };
    let thread = std::thread::Builder::new().name("kai-epoch".to_owned()).spawn(tick);
    thread.map(drop).map_err(|error| BuildError::Engine(format!("no thread for its clock: {error}")))
}

/// Runs what blocks apart from what does not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    let load = tokio::task::spawn_blocking(work);
    load.await.map_err(|error| LoadError::Invalid(format!("loading failed: {error}")))?
}

/// A file that is too large is not read at all.
fn read(path: &Path) -> Result<Bytes, LoadError> {
    let unreadable = |source| LoadError::Read { path: path.to_owned(), source };
    check_size(fs::metadata(path).map_err(unreadable)?.len())?;
    Ok(Bytes::from(fs::read(path).map_err(unreadable)?))
}

fn check_size(size: u64) -> Result<(), LoadError> {
    if size > LARGEST_COMPONENT {
        return Err(LoadError::TooLarge { size, limit: LARGEST_COMPONENT });
    }
    Ok(())
}

/// The first eight bytes tell what kind of file it is; a text component is none.
fn check_format(bytes: &[u8]) -> Result<(), LoadError> {
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(LoadError::Precompiled);
    }
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Err(LoadError::CoreModule),
        Some([0, b'a', b's', b'm', ..]) => Ok(()),
        _ => Err(LoadError::NotWasm),
    }
}

/// Makes the directory, for its owner only. One that is there already must not be open to others: what lies in it is run.
fn create_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&fs::metadata(directory)?.permissions()) & 0o022 != 0 {
        return Err(std::io::Error::other("others may write to it; take that right from them (chmod go-w)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_precompiled_artifact_is_refused_whoever_compiled_it() {
        let host = Host::builder().build().unwrap();
        let compiled = host.0.engine.precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
        let refused = host.load(ComponentSource::Bytes(compiled)).await.unwrap_err();
        assert!(matches!(refused, LoadError::Precompiled), "{refused:?}");
    }

    #[tokio::test]
    async fn a_file_larger_than_any_connector_is_refused_unread() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(LARGEST_COMPONENT + 1).unwrap();
        let host = Host::builder().build().unwrap();
        let refused = host.load(ComponentSource::File(file.path().to_owned())).await.unwrap_err();
        assert!(matches!(refused, LoadError::TooLarge { .. }), "{refused:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_cache_that_others_may_write_to_is_refused_and_a_new_one_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("deep/cache");
        Host::builder().cache_directory(&cache).build().unwrap();
        assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o770)).unwrap();
        let refused = Host::builder().cache_directory(&cache).build().unwrap_err().to_string();
        assert!(refused.contains("cache") && refused.contains("chmod"), "{refused}");
    }
}
