//! The real token is in no log, error, document, file or guest: looked for everywhere, in each form that it takes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use confluence_site::{Condition, Fault, RetryAfter, Site};

use support::log::Log;
use support::{Tenant, assert_complete, connector, registration_with};

/// The token, and its Base64 as the part of `email:token` that no other text shares, at each of the three offsets that
/// it can begin at.
fn forms() -> Vec<Vec<u8>> {
    let encoded = ["c2l0ZS10b2tlbi00ZjFj", "NpdGUtdG9rZW4tNGYxY", "zaXRlLXRva2VuLTRmMW"];
    encoded.iter().map(|form| form.as_bytes().to_vec()).chain([Site::TOKEN.as_bytes().to_vec()]).collect()
}

#[track_caller]
fn assert_clean(what: &str, bytes: &[u8]) {
    for form in forms() {
        let found = bytes.windows(form.len()).position(|window| window == form);
        assert!(found.is_none(), "{} is in {what}", String::from_utf8_lossy(&form));
    }
}

#[tokio::test]
async fn no_log_error_document_or_file_holds_the_token() {
    // The site that runs in this process may log what it likes; it is not what is looked at.
    let log = Log::install("trace,hyper::server=off,hyper::proto=off,confluence_site=off");

    let site = Site::builder().spaces(2).pages(40).start().await.unwrap();
    for (number, fault) in [
        Fault::Status(500),
        Fault::Reset,
        Fault::RateLimited(RetryAfter::Seconds(0.1)),
        Fault::Garbage,
        Fault::Redirect("http://127.0.0.1:9/elsewhere".to_owned()),
        Fault::Unauthorized,
        Fault::GenericNotFound,
    ]
    .into_iter()
    .enumerate()
    {
        site.inject(fault, 1, Condition::Nth(2 + number as u64));
    }
    let tenant = Tenant::new(&site).await;
    let mut told = String::new();
    for _ in 0..8 {
        let outcome = tenant.sync().await;
        told +=
            &format!("{outcome:?} {}", outcome.error.as_ref().map(ToString::to_string).unwrap_or_default());
    }
    assert_complete(&tenant.sync_full().await);
    tenant.assert_equals(&site);
    assert_clean("outcomes", told.as_bytes());
    let session = tenant.connector.session(tenant.registration.source.clone()).unwrap();
    let shown = format!("{:?} {session:?} {:?}", tenant.registration, tenant.connector);
    assert_clean("debug output", shown.as_bytes());
    // What a panic would say that shows all that there is to show.
    let everything = (tenant.registration.clone(), session.clone());
    let panic = tokio::spawn(async move { panic!("{everything:?}") }).await.unwrap_err().into_panic();
    assert_clean("a panic", panic.downcast_ref::<String>().unwrap().as_bytes());
    for document in tenant.documents().values() {
        assert_clean("a document", format!("{document:?}").as_bytes());
    }
    for entry in std::fs::read_dir(tenant.data.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_clean(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
    let text = log.text();
    assert!(text.contains("TRACE") && text.contains("throttled by the site"), "the log was kept");
    assert_clean("the log", text.as_bytes());
}

/// What lies in the linear memories of all guests of this process: readable and writable, with the rest of a large
/// reservation, which nobody may touch, right behind.
#[cfg(target_os = "linux")]
fn guest_memory() -> Vec<u8> {
    const RESERVATION: u64 = 1 << 30;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let regions: Vec<(u64, u64, String)> = maps
        .lines()
        .map(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
            (number(start), number(end), rest[..4].to_owned())
        })
        .collect();
    let mut memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut bytes = Vec::new();
    for (at, pair) in regions.windows(2).enumerate() {
        let [(_, end, _), (behind, behind_end, rights)] = pair else { unreachable!() };
        if end != behind || rights != "---p" || behind_end - behind < RESERVATION {
            continue;
        }
        // An image of the component's data may be a mapping of its own before the rest.
        let mut first = at;
        while first > 0 && regions[first].2 == "rw-p" && regions[first - 1].1 == regions[first].0 {
            first -= 1;
        }
        for (start, end, rights) in &regions[first..=at] {
            if rights == "rw-p" {
                let mut region = vec![0; usize::try_from(end - start).unwrap()];
                memory.seek(SeekFrom::Start(*start)).unwrap();
                if memory.read_exact(&mut region).is_ok() {
                    bytes.extend(region);
                }
            }
        }
    }
    bytes
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guests_memory_holds_a_stand_in_and_never_the_token() {
    let site = Site::builder().latency(Duration::from_millis(500)).start().await.unwrap();
    let source = registration_with(&site, serde_json::json!({"space_key": "OPS"})).source;
    let session = connector().await.session(source).unwrap();
    let call = tokio::spawn(async move { session.validate().await });
    let mut seen_stand_in = false;
    while !call.is_finished() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let memory = guest_memory();
        assert_clean("the guest's memory", &memory);
        let contains = |text: &[u8]| memory.windows(text.len()).any(|window| window == text);
        seen_stand_in |= contains(b"sealed-") && contains(Site::EMAIL.as_bytes());
    }
    call.await.unwrap().unwrap();
    assert!(seen_stand_in, "the guest's memory was not found, so nothing was shown");
}
