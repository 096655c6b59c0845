//! A running sync on stderr: a bar with rate and ETA on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use kai::progress::{Event, Observer};
use kai::summary::Mode;

use crate::messages;

/// Plain lines about what is only going on come no closer than this.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows a sync to a person.
pub(crate) struct Progress {
    display: Display,
    seen: Mutex<Seen>,
}

enum Display {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

#[derive(Default)]
struct Seen {
    spaces: usize,
    ended: usize,
    pages: u64,
    failed: u64,
    last_line: Option<Instant>,
    paused_until: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let display = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Display::Nothing,
            (false, true) if !messages::as_json() => Display::Bar(ProgressBar::no_length()),
            (false, _) => Display::Lines,
        };
        Self { display, seen: Mutex::default() }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        match &self.display {
            Display::Bar(bar) => bar.println(line),
            Display::Lines => messages::note(line),
            Display::Nothing => {}
        }
    }

    fn start(&self, mode: Mode, resumed: bool, spaces: usize, expected: Option<u64>) {
        let how = match (mode, resumed) {
            (Mode::Full, false) => "full crawl",
            (Mode::Full, true) => "full crawl, going on where it stopped",
            (Mode::Delta, false) => "what changed since the last run",
            (Mode::Delta, true) => "what changed, going on where it stopped",
        };
        self.say(&format!("{}: {how}", counted(spaces as u64, "space")));
        let Display::Bar(bar) = &self.display else { return };
        let template = match expected {
            Some(_) => "{bar:30} {pos}/{len} pages  {per_sec}  ETA {eta}  {msg}",
            None => "{spinner} {pos} pages  {per_sec}  {elapsed}  {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if let Some(expected) = expected {
            bar.set_length(expected);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
    }

    fn show(&self, seen: &mut Seen) {
        let mut message = format!("{}/{}", seen.ended, counted(seen.spaces as u64, "space"));
        if seen.failed > 0 {
            message += &format!(", {} failed", seen.failed);
        }
        let paused = seen.paused_until.map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(paused) = paused.filter(|paused| !paused.is_zero()) {
            message += &format!(", paused by the site for {} s", paused.as_secs() + 1);
        }
        match &self.display {
            Display::Bar(bar) => {
                bar.set_position(seen.pages);
                if bar.length().is_some_and(|length| length < seen.pages) {
                    bar.set_length(seen.pages);
                }
                bar.set_message(message);
            }
            Display::Lines if seen.last_line.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) => {
                seen.last_line = Some(Instant::now());
                self.say(&format!("{}, {message}", counted(seen.pages, "page")));
            }
            Display::Lines | Display::Nothing => {}
        }
    }
}

/// "1 page", "2 pages".
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

impl Observer for Progress {
    fn event(&self, event: Event) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { mode, resumed, spaces, expected } => {
                seen.spaces = spaces;
                self.start(mode, resumed, spaces, expected);
            }
            Event::Committed(counts) => {
                seen.pages += counts.upserted + counts.unchanged;
                seen.failed += counts.failed;
                self.show(&mut seen);
            }
            Event::SpaceEnded(_) => {
                seen.ended += 1;
                self.show(&mut seen);
            }
            Event::SpaceFailed { key, reason } => self.say(&format!("space {key} stopped: {reason}")),
            Event::Paused(until) => {
                seen.paused_until = Some(until);
                self.show(&mut seen);
            }
            Event::Confirming(pages) => {
                self.say(&format!(
                    "{} not met: asking Confluence for each",
                    counted(pages as u64, "document")
                ));
            }
            _ => {}
        }
    }
}
