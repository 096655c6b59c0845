//! What is measured in a process of its own.

use std::error::Error as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use confluence_site::Site;
use cpu_time::ProcessTime;
use futures::TryStreamExt as _;
use kai::source_file::Registration;
use kai::store::{SharedStore, SqliteStore, Store as _};
use kai::sync::SyncOptions;
use kai_host::{Carry, Change, ComponentSource, Connector, Host, HostBuilder, StoragePage};
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::conversion;
use crate::measured::{Meter, Usage, resident_mib};
use crate::pages::{self, Pages};
use crate::table::median;

/// Calls that are not measured: they fill caches and pools.
const WARM_UP: usize = 500;

/// Prints figures for whoever started this process.
pub(crate) fn print(figures: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}

fn host(cache: &Path) -> HostBuilder {
    Host::builder().allow_local(true).cache_directory(cache)
}

async fn load(component: &Path, host: HostBuilder) -> Result<Connector, Failure> {
    Ok(host.build()?.load(ComponentSource::File(component.to_owned())).await?)
}

fn registration(base_url: &str, email: &str) -> Result<Registration, Failure> {
    let document = serde_json::json!({
        "kind": "CONFLUENCE", "base_url": base_url, "email": email, "api_token": Site::TOKEN,
    });
    Ok(Registration::parse(document.to_string().as_bytes(), None)?)
}

/// A sync.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SyncFigures {
    pub(crate) usage: Usage,
    pub(crate) upserted: u64,
    /// In the store, after the run.
    pub(crate) documents: u64,
}

/// Syncs a site into the store in `data`: from opening the store to its being closed again.
pub(crate) async fn sync(
    component: &Path,
    base_url: &str,
    data: &Path,
    cache: &Path,
) -> Result<SyncFigures, Failure> {
    let connector = load(component, host(cache)).await?;
    let registration = registration(base_url, Site::EMAIL)?;
    let meter = Meter::start();
    let session = connector.session(registration.source.clone())?;
    let store = SharedStore::new(SqliteStore::open(data)?);
    let outcome = kai::sync::sync(&session, &registration, &store, SyncOptions::default(), &()).await?;
    if let Some(error) = outcome.error {
        return Err(error.into());
    }
    let id = registration.id();
    let documents = store.with(move |store: &mut SqliteStore| store.count(&id)).await?;
    drop(store);
    let upserted = outcome.summary.documents.upserted;
    Ok(SyncFigures { usage: meter.read(), upserted, documents })
}

/// Reads all listings with bodies, 250 pages a request, one space after the other's beginning, and does nothing with
/// them: what the network alone takes.
pub(crate) async fn read_listings(base_url: &str) -> Result<Usage, Failure> {
    // Another one may be installed already: all are the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let get = async |path: String| -> Result<reqwest::Response, Failure> {
        let request = client.get(format!("{base_url}{path}")).basic_auth(Site::EMAIL, Some(Site::TOKEN));
        Ok(request.send().await?.error_for_status()?)
    };
    let meter = Meter::start();
    let spaces: serde_json::Value =
        serde_json::from_slice(&get("/wiki/api/v2/spaces?limit=250".to_owned()).await?.bytes().await?)?;
    let spaces = spaces.get("results").and_then(|results| results.as_array()).ok_or("no spaces")?;
    let listings = spaces.iter().filter_map(|space| space.get("id")?.as_str()).map(async |id| {
        let mut path =
            Some(format!("/wiki/api/v2/spaces/{id}/pages?limit=250&status=current&body-format=storage"));
        while let Some(next) = path {
            let mut response = get(next).await?;
            path = next_of(&response);
            while let Some(piece) = response.chunk().await? {
                black_box(piece);
            }
        }
        Ok::<(), Failure>(())
    });
    futures::future::try_join_all(listings).await?;
    Ok(meter.read())
}

/// Where the `Link` header says that the listing goes on.
fn next_of(response: &reqwest::Response) -> Option<String> {
    let link = response.headers().get("link")?.to_str().ok()?;
    let (next, _) = link.strip_prefix('<')?.split_once(">; rel=\"next\"")?;
    Some(next.to_owned())
}

/// MB (10^6 bytes) of storage format per second of CPU.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConversionFigures {
    pub(crate) bytes: usize,
    /// The events of quick-xml alone, natively.
    pub(crate) events: f64,
    /// Our converter, natively.
    pub(crate) native: f64,
    /// `convert`: one page a call, in a fresh instance each.
    pub(crate) calls: f64,
    /// `discover`: with HTTP, JSON and the way of whole batches from the guest to the host.
    pub(crate) batches: f64,
    /// The events of quick-xml in a component: a page a call, as [`calls`](Self::calls) has it.
    pub(crate) component_events: f64,
    /// The same, and only the loop over them.
    pub(crate) component_loop: f64,
    /// Batches of documents as large as ours that the guest has ready: the way to the host by itself.
    pub(crate) ready_batches: f64,
}

/// How often a page is read in one call, so that what a call takes does not count.
const READ_AGAIN: usize = 10;

/// As many pages as the largest batches of a listing hold.
const BATCH: usize = 250;

/// The component that the real one is compared with: `make bench` builds it beside that.
fn bare(component: &Path) -> PathBuf {
    component.with_file_name("bare_component.wasm")
}

fn storage_page(id: usize, storage: &str) -> StoragePage {
    StoragePage {
        id: id.to_string(),
        title: "Title".into(),
        space_key: "ENG".into(),
        base_url: "https://example.atlassian.net".into(),
        storage: storage.to_owned(),
    }
}

/// Seconds of CPU that the pages take, one a call, with this id.
async fn call_each(connector: &Connector, id: usize, storage: &[String]) -> Result<(f64, usize), Failure> {
    let pages: Vec<StoragePage> = storage.iter().map(|page| storage_page(id, page)).collect();
    let began = ProcessTime::now();
    let mut bytes = 0;
    for page in pages {
        bytes += black_box(connector.convert(page).await?).markdown.len();
    }
    Ok((began.elapsed().as_secs_f64(), bytes))
}

/// Converts the pages of a site in all ways, by turns.
pub(crate) async fn convert(
    component: &Path,
    base_url: &str,
    page_bytes: usize,
    pages: usize,
    rounds: usize,
    cache: &Path,
) -> Result<ConversionFigures, Failure> {
    let connector = load(component, host(cache).pooled_instances(16)).await?;
    let bare = load(&bare(component), host(cache).pooled_instances(16)).await?;
    let session = connector.session(registration(base_url, Site::EMAIL)?.source)?;
    let bare_session = bare.session(registration(base_url, Site::EMAIL)?.source)?;
    let spaces = session.list_partitions(None, None).await?.items;
    let content = Site::builder().pages(pages).page_bytes(page_bytes).content().visible_pages();
    let storage: Vec<String> = content.into_iter().map(|page| page.storage).collect();
    let bytes: usize = storage.iter().map(String::len).sum();
    let mut figures = [const { Vec::new() }; 7];
    // The first round warms up.
    for round in 0..=rounds {
        let mut taken = [0.0; 7];
        let [events, native, calls, batches, component_events, component_loop, ready_batches] = &mut taken;
        let mut read: Result<usize, _> = Ok(0);
        *events = cpu(|| read = storage.iter().map(|page| conversion::events(black_box(page))).sum());
        read?;
        *native =
            cpu(|| storage.iter().map(|page| conversion::markdown(black_box(page)).len()).sum::<usize>());
        let markdown_bytes;
        (*calls, markdown_bytes) = call_each(&connector, 1, &storage).await?;
        (*component_events, _) = call_each(&bare, 1, &storage).await?;
        let (again, _) = call_each(&bare, 1 + READ_AGAIN, &storage).await?;
        *component_loop = (again - *component_events) / READ_AGAIN as f64;
        let began = ProcessTime::now();
        let mut converted = 0;
        for space in &spaces {
            let mut listing = std::pin::pin!(session.batches(space.clone(), None, Carry::Documents, None));
            while let Some(batch) = listing.try_next().await? {
                let documents = batch.changes.iter().filter(|change| matches!(change, Change::Document(_)));
                converted += documents.count();
            }
        }
        *batches = began.elapsed().as_secs_f64();
        let began = ProcessTime::now();
        for pages in storage.chunks(BATCH) {
            let ready = format!("{} {}", pages.len(), markdown_bytes / storage.len().max(1));
            let space = spaces.first().ok_or("no space")?.clone();
            black_box(bare_session.discover(space, None, Carry::Documents, Some(ready)).await?);
        }
        *ready_batches = began.elapsed().as_secs_f64();
        if converted != storage.len() {
            return Err(format!("{converted} of {} pages were listed", storage.len()).into());
        }
        if round > 0 {
            for (all, taken) in figures.iter_mut().zip(taken) {
                all.push(bytes as f64 / 1e6 / taken);
            }
        }
    }
    let [events, native, calls, batches, component_events, component_loop, ready_batches] =
        figures.map(median);
    Ok(ConversionFigures {
        bytes,
        events,
        native,
        calls,
        batches,
        component_events,
        component_loop,
        ready_batches,
    })
}

/// Pages of one kind: MB of storage format per second of CPU.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KindFigures {
    pub(crate) name: String,
    pub(crate) bytes: usize,
    pub(crate) native: f64,
    /// One page a call, in a fresh instance each.
    pub(crate) calls: f64,
}

/// Converts pages of several kinds natively and through the component, by turns.
pub(crate) async fn convert_kinds(
    component: &Path,
    rounds: usize,
    cache: &Path,
) -> Result<Vec<KindFigures>, Failure> {
    let connector = load(component, host(cache).pooled_instances(16)).await?;
    let mut kinds = Vec::new();
    for Pages { name, storage } in pages::all() {
        let bytes: usize = storage.iter().map(String::len).sum();
        // A single page takes too little time to be measured.
        let times = (KIND_BYTES / bytes.max(1)).max(1);
        let storage: Vec<String> = std::iter::repeat_n(storage, times).flatten().collect();
        let mut figures = [const { Vec::new() }; 2];
        // The first round warms up.
        for round in 0..=rounds {
            let native =
                cpu(|| storage.iter().map(|page| conversion::markdown(black_box(page)).len()).sum::<usize>());
            let (calls, _) = call_each(&connector, 1, &storage).await?;
            if round > 0 {
                for (all, taken) in figures.iter_mut().zip([native, calls]) {
                    all.push((bytes * times) as f64 / 1e6 / taken);
                }
            }
        }
        let [native, calls] = figures.map(median);
        kinds.push(KindFigures { name: name.to_owned(), bytes, native, calls });
    }
    Ok(kinds)
}

/// Bytes of pages of one kind that are converted at once.
const KIND_BYTES: usize = 10_000_000;

/// Seconds of CPU.
fn cpu<T>(work: impl FnOnce() -> T) -> f64 {
    let began = ProcessTime::now();
    black_box(work());
    began.elapsed().as_secs_f64()
}

/// Instances and tenants.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InstanceFigures {
    /// Microseconds of a call of `describe`: pooled, and with memory of its own each.
    pub(crate) pooled: f64,
    pub(crate) pooled_p99: f64,
    pub(crate) on_demand: f64,
    /// Microseconds of it beside that many idle tenants.
    pub(crate) beside_idle: f64,
    /// KiB that each tenant after the first takes: its session alone, and after its first call.
    pub(crate) session_kib: f64,
    pub(crate) used_kib: f64,
}

/// Calls fresh instances, and makes tenants.
pub(crate) async fn instances(
    component: &Path,
    base_url: &str,
    tenants: u32,
    calls: usize,
    cache: &Path,
) -> Result<InstanceFigures, Failure> {
    let on_demand = load(component, host(cache)).await?;
    let (on_demand, _) = describe(&on_demand, calls).await?;
    let connector = load(component, host(cache).pooled_instances(64)).await?;
    let (pooled, pooled_p99) = describe(&connector, calls).await?;

    let session = |number: u32| -> Result<_, Failure> {
        let source = registration(base_url, &format!("tenant-{number}@acme.example"))?.source;
        Ok(connector.session(source)?)
    };
    let mut sessions = vec![session(0)?];
    call_once(&sessions).await?;
    let before = resident_mib();
    for number in 1..=tenants {
        sessions.push(session(number)?);
    }
    let per_tenant = |mib: f64| (mib - before) * 1024.0 / f64::from(tenants);
    let session_kib = per_tenant(resident_mib());
    let (beside_idle, _) = describe(&connector, calls).await?;
    call_once(&sessions).await?;
    let used_kib = per_tenant(resident_mib());
    Ok(InstanceFigures { pooled, pooled_p99, on_demand, beside_idle, session_kib, used_kib })
}

/// The site does not know the accounts, and says so: a whole call and request it is all the same.
async fn call_once(sessions: &[kai_host::Session]) -> Result<(), Failure> {
    for session in sessions {
        if let Err(error @ (kai_host::CallError::Busy | kai_host::CallError::Host(_))) =
            session.validate().await
        {
            return Err(error.source().map_or_else(|| error.to_string(), ToString::to_string).into());
        }
    }
    Ok(())
}

/// The median and the 99th percentile, microseconds.
async fn describe(connector: &Connector, calls: usize) -> Result<(f64, f64), Failure> {
    let mut took = Vec::with_capacity(calls);
    for number in 0..WARM_UP + calls {
        let began = Instant::now();
        black_box(connector.describe().await?);
        if number >= WARM_UP {
            took.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    Ok((at(0.5), at(0.99)))
}
