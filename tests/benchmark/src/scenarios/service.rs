//! The service under load: how long those wait who list, read and search while a source is synced, and what those cost
//! who only follow.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use confluence_site::Site;
use futures::future;
use kai::access_key::AccessKey;
use kai::store::SqliteStore;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Failure;
use crate::scenarios::Bench;
use crate::site_process::Content;
use crate::table::{self, number};

const FOLLOWERS: usize = 500;

/// Requests a second of each kind. They come when they come: one that is late does not hold up the next.
const RATE: u32 = 50;

/// Words, a beginning, a phrase: nearly every document of the simulated site has each word, which is the worst case.
const SEARCHES: [&str; 5] =
    ["gateway", "rollback consumer", "mig", "\"release notes\"", "billing queue latency"];

pub(crate) async fn run(bench: &Bench) -> Result<(), Failure> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let (pages, seconds) = if bench.short { (5_000, 5) } else { (100_000, 30) };
    let data = bench.fresh_data()?;
    let site = bench.site(Content { spaces: 3, pages, page_bytes: 1_000 }).await?;
    bench.sync(&site, &data).await?;
    let key = AccessKey::generate()?;
    SqliteStore::open(data.path())?.add_key("benchmark", "benchmark", None, key.digest())?;
    let service = ServiceProcess::start(data.path(), &bench.cache_argument(), key.expose()).await?;
    eprintln!("the service indexes {pages} documents for the search");
    let indexing = Instant::now();
    while service.metric("kai_search_behind_changes").await? > 0.0 {
        sleep(Duration::from_millis(200)).await;
    }
    let indexed = indexing.elapsed().as_secs_f64();
    let followed = follow(&service, Duration::from_secs(seconds)).await?;

    let documents = service.get("/documents?limit=200").await?;
    let listed = documents.get("documents").and_then(Value::as_array).into_iter().flatten();
    let ids: Vec<String> = listed
        .map(|document| {
            Ok(format!("/sources/{}/documents/{}", text(document, "source_id")?, text(document, "id")?))
        })
        .collect::<Result<_, Failure>>()?;
    let lists = ["/documents".to_owned(), "/documents?space_key=ENG&limit=100".to_owned()];
    let searches: Vec<String> =
        SEARCHES.iter().map(|words| format!("/documents?q={}", words.replace(' ', "%20"))).collect();
    let mut rows = Vec::new();
    for syncing in [false, true] {
        let sync = syncing.then(|| KeepSyncing::start(bench, &service));
        let sync = future::OptionFuture::from(sync).await.transpose()?;
        let (listed, read, searched) = tokio::join!(
            load(&service, &lists, seconds),
            load(&service, &ids, seconds),
            load(&service, &searches, seconds),
        );
        for (what, waited) in [("list", listed?), ("read", read?), ("search", searched?)] {
            let at = |share: f64| {
                let place = ((waited.len() as f64 * share) as usize).min(waited.len().saturating_sub(1));
                number(waited.get(place).copied().unwrap_or_default())
            };
            rows.push(vec![
                what.to_owned(),
                if syncing { "yes" } else { "no" }.to_owned(),
                RATE.to_string(),
                waited.len().to_string(),
                at(0.5),
                at(0.99),
                at(1.0),
            ]);
        }
        if let Some(sync) = sync {
            eprintln!("{} runs meanwhile", sync.stop().await?);
        }
    }
    table::print(
        &format!(
            "The service with {pages} documents of 1 KB, indexed for the search in {} s",
            number(indexed)
        ),
        &["request", "beside a full sync", "a second", "answers", "p50 ms", "p99 ms", "most ms"],
        &rows,
    );
    table::print(
        &format!("{FOLLOWERS} followers of the changes, of which there are none"),
        &["MiB before", "MiB with them", "KiB each", "CPU s a minute"],
        &[followed],
    );
    Ok(())
}

/// Milliseconds from when each request was due to the end of its answer, in order of size.
async fn load(service: &ServiceProcess, paths: &[String], seconds: u64) -> Result<Vec<f64>, Failure> {
    let mut requests = JoinSet::new();
    let began = Instant::now();
    for (number, path) in (0..u32::try_from(seconds)? * RATE).zip(paths.iter().cycle()) {
        let due = began + Duration::from_secs(1) * number / RATE;
        sleep_until(due).await;
        let request = service.request(Method::GET, path);
        requests.spawn(async move {
            let response = request.send().await?.error_for_status()?;
            response.bytes().await?;
            Ok::<_, reqwest::Error>(due.elapsed().as_secs_f64() * 1000.0)
        });
    }
    let mut waited = Vec::new();
    while let Some(request) = requests.join_next().await {
        waited.push(request??);
    }
    waited.sort_by(f64::total_cmp);
    Ok(waited)
}

/// Full runs of another source, one after the other.
struct KeepSyncing {
    task: tokio::task::JoinHandle<Result<u64, Failure>>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl KeepSyncing {
    async fn start(bench: &Bench, service: &ServiceProcess) -> Result<Self, Failure> {
        let pages = if bench.short { 1_000 } else { 20_000 };
        let site = bench.site(Content { spaces: 3, pages, page_bytes: 15_000 }).await?;
        // Elsewhere it would not take these processors.
        site.give_way()?;
        let source = json!({"kind": "CONFLUENCE", "base_url": site.base_url, "email": Site::EMAIL, "api_token": Site::TOKEN});
        let source = service.post("/sources", &source).await?;
        let id = text(&source, "id")?;
        let runs = format!("/sources/{id}/runs");
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let service = service.handle();
        service.post(&runs, &json!({"mode": "full"})).await?;
        let task = tokio::spawn(async move {
            let mut ended = 0;
            // The site lives as long as the runs.
            let _site = site;
            while stopped.try_recv().is_err() {
                let run = service.get(&format!("{runs}?limit=1")).await?;
                match run.pointer("/runs/0/state").and_then(Value::as_str) {
                    Some("queued" | "running") => {}
                    Some("completed") => {
                        ended += 1;
                        service.post(&runs, &json!({"mode": "full"})).await?;
                    }
                    _ => return Err(run.to_string().into()),
                }
                sleep(Duration::from_millis(100)).await;
            }
            Ok(ended)
        });
        Ok(Self { task, stop })
    }

    async fn stop(self) -> Result<u64, Failure> {
        self.stop.send(()).ok();
        self.task.await?
    }
}

async fn follow(service: &ServiceProcess, time: Duration) -> Result<Vec<String>, Failure> {
    let mut cursor = String::new();
    loop {
        let changes = service.get(&format!("/changes?limit=1000&after={cursor}")).await?;
        cursor = text(&changes, "cursor")?;
        if changes.get("more") != Some(&Value::Bool(true)) {
            break;
        }
    }
    let before = service.resident_mib()?;
    let path = format!("/changes/stream?after={cursor}");
    let followers = (0..FOLLOWERS).map(|_| service.request(Method::GET, &path).send());
    let followers: Vec<Response> = future::try_join_all(followers).await?;
    sleep(Duration::from_secs(1)).await;
    let (cpu, began) = (service.cpu_seconds()?, Instant::now());
    sleep(time).await;
    let cpu = (service.cpu_seconds()? - cpu) / began.elapsed().as_secs_f64() * 60.0;
    let with = service.resident_mib()?;
    drop(followers);
    let each = (with - before) * 1024.0 / FOLLOWERS as f64;
    Ok(vec![number(before), number(with), number(each), number(cpu)])
}

/// `kai serve` in a process of its own; it ends with this value.
struct ServiceProcess {
    child: Child,
    handle: Handle,
}

/// How it is asked.
#[derive(Clone)]
struct Handle {
    client: Client,
    base_url: String,
    key: String,
}

impl std::ops::Deref for ServiceProcess {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl ServiceProcess {
    async fn start(data: &Path, cache: &str, key: &str) -> Result<Self, Failure> {
        let program = std::env::current_exe()?.with_file_name("kai");
        let mut child = Command::new(&program)
            .args(["serve", "--allow-local", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("XDG_CACHE_HOME", cache)
            .env("XDG_CONFIG_HOME", format!("{cache}/configuration"))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}; `make bench` builds it", program.display()))?;
        let mut lines =
            BufReader::new(child.stderr.take().ok_or("the service has no standard error")?).lines();
        let said = lines.next_line().await?.unwrap_or_default();
        let base_url = said.split_whitespace().find(|word| word.starts_with("http"));
        let base_url = base_url.ok_or(said.clone())?.trim_end_matches('/').to_owned();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let client = Client::builder().no_proxy().build()?;
        Ok(Self { child, handle: Handle { client, base_url, key: key.to_owned() } })
    }

    fn process_file(&self, name: &str) -> Result<String, Failure> {
        let id = self.child.id().ok_or("the service has ended")?;
        Ok(fs::read_to_string(format!("/proc/{id}/{name}"))?)
    }

    fn resident_mib(&self) -> Result<f64, Failure> {
        let status = self.process_file("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }

    /// Of all its threads, user and system: in hundredths, as the kernel counts.
    fn cpu_seconds(&self) -> Result<f64, Failure> {
        let stat = self.process_file("stat")?;
        // Behind the name of the program, which may hold anything.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / 100.0)
    }
}

impl Handle {
    fn handle(&self) -> Self {
        self.clone()
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}/api/v1{path}", self.base_url)).bearer_auth(&self.key)
    }

    async fn get(&self, path: &str) -> Result<Value, Failure> {
        answer(self.request(Method::GET, path).send().await?).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path).header("content-type", "application/json");
        answer(request.body(body.to_string()).send().await?).await
    }

    async fn metric(&self, name: &str) -> Result<f64, Failure> {
        let url = format!("{}/metrics", self.base_url);
        let text = self.client.get(url).bearer_auth(&self.key).send().await?.text().await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .ok_or(format!("{name} is not in {text}"))?;
        Ok(line.trim().parse()?)
    }
}

fn text(value: &Value, field: &str) -> Result<String, Failure> {
    let text = value.get(field).and_then(Value::as_str);
    Ok(text.ok_or_else(|| format!("there is no {field} in {value}"))?.to_owned())
}

async fn answer(response: Response) -> Result<Value, Failure> {
    let (status, bytes) = (response.status(), response.bytes().await?);
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&bytes)).into());
    }
    Ok(serde_json::from_slice(&bytes)?)
}
