//! Our converter beside others that are Rust crates, on the same pages: how fast each is, and how much of the text each
//! keeps. None of the others knows Confluence; storage format is given to them as the HTML that it nearly is.
//!
//! ```sh
//! make bench-peers      # BENCH_SHORT=1 for a look in a minute
//! ```
//!
//! Figures are MB (10^6 bytes) of storage format per second of CPU, medians of rounds in which all have their turn. The
//! rows of the component come from `benchmark`, a process of its own, where `PEERS_BENCHMARK` and `KAI_COMPONENT` name
//! both files.

#[path = "../../benches/conversion/mod.rs"]
mod conversion;
#[path = "../../tests/markdown_reader/mod.rs"]
mod markdown_reader;
mod probes;
#[path = "../../tests/storage_reader/mod.rs"]
mod storage_reader;

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;

use confluence_site::Site;
use cpu_time::ProcessTime;
use markdown_reader::words;
use probes::PROBES;

/// What the peers get, and we.
type Converter = fn(&str) -> String;

/// Converters whose output is compared; the first one is ours.
const CONVERTERS: [(&str, Converter); 5] = [
    ("**ours, native**", conversion::markdown),
    ("mdream", mdream),
    ("fast_html2md", fast_html2md),
    ("htmd", htmd),
    ("html-to-markdown-rs", html_to_markdown),
];

const PAGE_BYTES: usize = 15_000;

fn mdream(storage: &str) -> String {
    mdream::html_to_markdown(storage, mdream::HtmlToMarkdownOptions::default())
}

fn fast_html2md(storage: &str) -> String {
    html2md::rewrite_html(storage, false)
}

fn htmd(storage: &str) -> String {
    htmd::convert(storage).unwrap_or_default()
}

fn html_to_markdown(storage: &str) -> String {
    html_to_markdown_rs::convert(storage, None).ok().and_then(|result| result.content).unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let short = std::env::var_os("BENCH_SHORT").is_some_and(|value| !value.is_empty());
    let (pages, rounds) = if short { (100, 1) } else { (1000, 5) };
    let site = Site::builder().pages(pages).page_bytes(PAGE_BYTES).start().await?;
    let content = site.with_state(|state| state.visible_pages());
    let storage: Vec<String> = content.into_iter().map(|page| page.storage).collect();
    let bytes: usize = storage.iter().map(String::len).sum();
    let component = Component::beside(&site, pages)?;

    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
    let mut rates: HashMap<&str, Vec<f64>> = HashMap::new();
    // The first round warms up.
    for round in 0..=rounds {
        let mut read: Result<usize, _> = Ok(0);
        let events = cpu(|| read = storage.iter().map(|page| conversion::events(black_box(page))).sum());
        read?;
        let mut taken = vec![("quick-xml, events only", events)];
        for (name, converter) in CONVERTERS {
            taken.push((
                name,
                cpu(|| storage.iter().map(|page| converter(black_box(page)).len()).sum::<usize>()),
            ));
        }
        let mut round_rates: Vec<(&str, f64)> =
            taken.into_iter().map(|(name, seconds)| (name, rate(seconds))).collect();
        if let Some(component) = &component {
            round_rates.extend(component.rates().await?);
        }
        if round > 0 {
            for (name, rate) in round_rates {
                rates.entry(name).or_default().push(rate);
            }
        }
    }
    let mut rates: Vec<(&str, f64)> = rates.into_iter().map(|(name, rates)| (name, median(rates))).collect();
    rates.sort_by(|a, b| b.1.total_cmp(&a.1));
    show(&rates, &storage, pages, bytes);
    Ok(())
}

fn show(rates: &[(&str, f64)], storage: &[String], pages: usize, bytes: usize) {
    let of =
        |wanted: &str| rates.iter().find(|(name, _)| *name == wanted).map_or(f64::NAN, |(_, rate)| *rate);
    let (own, fastest) = (of("**ours, native**"), of("mdream"));
    println!("### Converters on {pages} pages, {:.1} MB of storage format\n", bytes as f64 / 1e6);
    println!(
        "| | MB per CPU second | of ours, native | of mdream | probe texts kept (of {}) | words kept |",
        PROBES.len()
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let mut lost = Vec::new();
    for (name, rate) in rates {
        let kept = CONVERTERS.iter().find(|(converter, _)| converter == name).map(|(_, converter)| {
            let missing: Vec<&str> = probes::missing(*converter);
            let counts = (PROBES.len() - missing.len(), words_kept(*converter, storage));
            lost.push((*name, missing));
            counts
        });
        let (probes, words) = kept.map_or_else(
            || (String::new(), String::new()),
            |(probes, words)| (probes.to_string(), format!("{:.2} %", words * 100.0)),
        );
        println!("| {name} | {rate:.0} | {:.2} | {:.2} | {probes} | {words} |", rate / own, rate / fastest);
    }
    println!();
    for (name, missing) in lost.into_iter().filter(|(_, missing)| !missing.is_empty()) {
        println!("- {name} loses: {}", missing.join(", "));
    }
}

/// Which share of the words that the pages show is in the output, each as often as it is shown.
fn words_kept(converter: Converter, storage: &[String]) -> f64 {
    let (mut shown, mut kept) = (0, 0);
    for page in storage {
        let mut text = String::new();
        storage_reader::tree(page).visible_children(&mut text);
        // The same is done to both: what looks like an escape may stand in code.
        let [text, markdown] = [text, converter(page)].map(|text| probes::plain(&text));
        let mut found: HashMap<&str, usize> = HashMap::new();
        for word in markdown.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *found.entry(word).or_default() += 1;
        }
        for shown_word in words(&text) {
            for word in shown_word.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                shown += 1;
                if let Some(left) = found.get_mut(word).filter(|left| **left > 0) {
                    *left -= 1;
                    kept += 1;
                }
            }
        }
    }
    f64::from(kept) / f64::from(shown.max(1))
}

/// Our converter where it runs: in the sandbox.
struct Component {
    benchmark: PathBuf,
    component: PathBuf,
    base_url: String,
    pages: String,
    cache: tempfile::TempDir,
}

impl Component {
    /// None where the environment does not name both files.
    fn beside(site: &Site, pages: usize) -> Result<Option<Self>, Box<dyn Error>> {
        let file = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let (Some(benchmark), Some(component)) = (file("PEERS_BENCHMARK"), file("KAI_COMPONENT")) else {
            return Ok(None);
        };
        let (base_url, pages, cache) = (site.base_url(), pages.to_string(), tempfile::tempdir()?);
        Ok(Some(Self { benchmark, component, base_url, pages, cache }))
    }

    async fn rates(&self) -> Result<[(&'static str, f64); 2], Box<dyn Error>> {
        let output = tokio::process::Command::new(&self.benchmark)
            .arg("--component")
            .arg(&self.component)
            .args(["measure-conversion", &self.base_url, &PAGE_BYTES.to_string(), &self.pages, "1"])
            .arg(self.cache.path())
            .stderr(std::process::Stdio::inherit())
            .output()
            .await?;
        let figures: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let rate = |name: &str| figures[name].as_f64().ok_or_else(|| format!("no {name} in {figures}"));
        Ok([
            ("**ours, component, a page a call**", rate("calls")?),
            ("**ours, component, batches with HTTP and JSON**", rate("batches")?),
        ])
    }
}

fn cpu<T>(work: impl FnOnce() -> T) -> f64 {
    let began = ProcessTime::now();
    black_box(work());
    began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
