//! Page titles and bodies that look like what people write in Confluence, the same for the same seed.
//!
//! Every page is made from the seed and its own number only, so one page can be made again without the others.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What the generator may refer to: the other pages and their spaces.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) space_keys: Vec<String>,
    /// Numbers below this belong to current pages; number `n` is in space `n % space_keys.len()`.
    pub(crate) pages: u64,
    pub(crate) page_bytes: usize,
}

const TOPICS: &[&str] = &[
    "Payments",
    "Billing",
    "Search",
    "Onboarding",
    "Kubernetes",
    "Postgres",
    "Release",
    "Incident",
    "Mobile",
    "Checkout",
    "Data Lake",
    "Network",
    "Identity",
    "Audit",
    "Backup",
    "Gateway",
    "Catalog",
    "Support",
    "Hiring",
    "Q&A",
    "Metrics",
    "Frontend",
    "Queue",
    "Storage",
];
const SUBJECTS: &[&str] = &[
    "Migration",
    "Capacity",
    "Access",
    "Rollout",
    "Failover",
    "Ownership",
    "Latency",
    "Cost",
    "Security",
    "Quality",
    "Alerting",
    "Vendor",
    "Schema",
    "Retention",
    "Testing",
    "Roadmap",
    "Naming",
];
const KINDS: &[&str] =
    &["Runbook", "Notes", "Decision", "Guide", "Checklist", "Retrospective", "FAQ", "Plan", "Overview"];
const WORDS: &[&str] = &[
    "the",
    "service",
    "reads",
    "each",
    "record",
    "once",
    "and",
    "writes",
    "a",
    "summary",
    "for",
    "every",
    "region",
    "before",
    "traffic",
    "is",
    "moved",
    "to",
    "new",
    "cluster",
    "we",
    "agreed",
    "that",
    "owners",
    "review",
    "this",
    "page",
    "after",
    "an",
    "incident",
    "so",
    "latency",
    "stays",
    "below",
    "limit",
    "when",
    "queue",
    "grows",
    "on-call",
    "engineer",
    "pauses",
    "consumers",
    "then",
    "restarts",
    "them",
    "in",
    "order",
    "database",
    "replica",
    "must",
    "not",
    "lag",
    "behind",
    "primary",
    "by",
    "more",
    "than",
    "ten",
    "seconds",
    "deploy",
    "rollback",
    "tested",
    "weekly",
    "customers",
    "see",
    "no",
    "change",
];
/// Fragments with entities, marks of other scripts and characters that careless readers lose.
const ODDITIES: &[&str] = &[
    "&ldquo;at least once&rdquo;",
    "R&amp;D",
    "p99 &lt; 250&nbsp;ms",
    "it&rsquo;s",
    "A &rarr; B",
    "caf\u{e9}",
    "\u{dc}berblick",
    "\u{c124}\u{c815}",
    "\u{1f680}",
    "3&ndash;5",
    "&quot;quoted&quot;",
    "x\u{200b}y",
    "&#8364;40",
    "\u{65e5}\u{672c}\u{8a9e}",
];
pub(crate) const ACCOUNTS: &[&str] = &[
    "557058:3c2f9d0a-6f0e-4a52-8f0b-0d6b8c1f2a11",
    "712020:a4d1f7c2-0b5e-4d7a-9a53-7e1f1c0b9d42",
    "5b10a2844c20165700ede21g",
    "70121:0c9a1f3e-55d2-4f2c-8a67-1b2e3d4c5f60",
];

/// The generator of one thing (a page, a paragraph), independent of all others.
pub(crate) fn rng(seed: u64, number: u64, salt: u64) -> StdRng {
    let mixed = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number).wrapping_mul(0xD1B5_4A32_D192_ED03);
    StdRng::seed_from_u64(mixed ^ salt)
}

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.get(rng.random_range(0..from.len().max(1))).copied().unwrap_or_default()
}

fn nth<'a>(from: &[&'a str], n: u64) -> &'a str {
    from.get((n % from.len().max(1) as u64) as usize).copied().unwrap_or_default()
}

/// The title of page number `number`, unique over the site.
pub(crate) fn title(seed: u64, number: u64) -> String {
    // Now and then a title without one ASCII letter: such pages have no slug in their links.
    if number % 97 == 41 {
        let high = char::from_u32(0xAC00 + ((number / 97) % 0x2000) as u32).unwrap_or('\u{ac00}');
        return format!("\u{c124}\u{c815} \u{ac00}\u{c774}\u{b4dc} {high}");
    }
    let combinations = (TOPICS.len() * SUBJECTS.len() * KINDS.len()) as u64;
    // 1009 is a prime that divides none of the table sizes: the step visits every combination once per round.
    let at = number.wrapping_mul(1009).wrapping_add(seed % combinations) % combinations;
    let topic = nth(TOPICS, at);
    let subject = nth(SUBJECTS, at / TOPICS.len() as u64);
    let kind = nth(KINDS, at / (TOPICS.len() * SUBJECTS.len()) as u64);
    let round = number / combinations;
    let suffix = if round > 0 { format!(" {}", round + 1) } else { String::new() };
    let foreign = if number % 13 == 7 { " \u{2013} \u{dc}bersicht" } else { "" };
    format!("{topic} {subject} {kind}{suffix}{foreign}")
}

/// The storage format of page number `number`, about `world.page_bytes` long.
pub(crate) fn page(world: &World, number: u64) -> String {
    let mut rng = rng(world.seed, number, 1);
    let target = (world.page_bytes as f64 * rng.random_range(0.7..1.3)) as usize;
    let layout = rng.random_range(0..6);
    let mut writer = Writer { rng, world, out: String::with_capacity(target + 512) };
    match layout {
        0 => {
            writer.out.push_str(r#"<ac:layout><ac:layout-section ac:type="fixed-width" ac:breakout-mode="default"><ac:layout-cell>"#);
            writer.fill(target / 2);
            writer.out.push_str(r#"</ac:layout-cell></ac:layout-section><ac:layout-section ac:type="two_equal" ac:breakout-mode="default"><ac:layout-cell>"#);
            writer.fill(target * 3 / 4);
            writer.out.push_str("</ac:layout-cell><ac:layout-cell>");
            writer.fill(target);
            writer.out.push_str("</ac:layout-cell></ac:layout-section></ac:layout>");
        }
        _ => writer.fill(target),
    }
    writer.out
}

/// One more paragraph, for an edit.
pub(crate) fn paragraph(world: &World, id: u64, version: u32) -> String {
    let rng = rng(world.seed, id, 0x5EED + u64::from(version));
    let mut writer = Writer { rng, world, out: String::new() };
    writer.paragraph();
    writer.out
}

/// Something with the form of a random UUID.
pub(crate) fn uuid(rng: &mut StdRng) -> String {
    let (a, b) = (rng.random::<u64>(), rng.random::<u64>());
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        (b >> 48) & 0xfff,
        b & 0xffff_ffff_ffff
    )
}

fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

struct Writer<'w> {
    rng: StdRng,
    world: &'w World,
    out: String,
}

impl Writer<'_> {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Appends blocks until the text is `length` bytes long; at least one paragraph.
    fn fill(&mut self, length: usize) {
        self.paragraph();
        while self.out.len() < length {
            // A heading now and then, a paragraph most often, anything else in between.
            match self.rng.random_range(0..24) {
                0..=3 => self.heading(),
                4..=9 => self.paragraph(),
                10 | 11 => self.list(0),
                12 | 13 => self.table(),
                14 | 15 => self.code(),
                16 | 17 => self.panel(),
                18 => self.expand(),
                19 => self.tasks(),
                20 => self.image(),
                21 => self.unknown_macro(),
                22 => self.adf_panel(),
                _ => self.rest(),
            }
        }
    }

    fn words(&mut self, from: usize, to: usize) -> String {
        let count = self.rng.random_range(from..=to);
        let mut text = String::new();
        for at in 0..count {
            if at > 0 {
                text.push(' ');
            }
            let odd = self.rng.random_range(0..22) == 0;
            text.push_str(pick(&mut self.rng, if odd { ODDITIES } else { WORDS }));
        }
        text
    }

    fn open_macro(&mut self, name: &str) {
        let id = uuid(&mut self.rng);
        self.push(&format!(
            r#"<ac:structured-macro ac:name="{name}" ac:schema-version="1" ac:macro-id="{id}">"#
        ));
    }

    fn parameter(&mut self, name: &str, value: &str) {
        self.push(&format!(r#"<ac:parameter ac:name="{name}">{value}</ac:parameter>"#));
    }

    fn heading(&mut self) {
        let level = self.rng.random_range(1..=4);
        let text = self.words(2, 5);
        self.push(&format!("<h{level}>{text}</h{level}>"));
    }

    fn paragraph(&mut self) {
        let id = uuid(&mut self.rng);
        if self.rng.random_range(0..12) == 0 {
            // The editor leaves these behind everywhere.
            self.push(&format!(r#"<p local-id="{id}" />"#));
        }
        match self.rng.random_range(0..8) {
            0 => self.push(r#"<p style="text-align: center;">"#),
            1 => self.push(&format!(r#"<p local-id="{id}">"#)),
            _ => self.push("<p>"),
        }
        for at in 0..self.rng.random_range(1..=4) {
            if at > 0 {
                self.push(" ");
            }
            let text = self.words(5, 14);
            self.push(&text);
            self.push(" ");
            self.inline();
            self.push(".");
        }
        self.push("</p>");
    }

    fn inline(&mut self) {
        let text = self.words(1, 3);
        match self.rng.random_range(0..17) {
            0 => self.push(&format!("<strong>{text}</strong>")),
            1 => self.push(&format!("<em>{text}</em>")),
            2 => self.push(&format!("<code>{text}</code>")),
            3 => self.push(&format!("<strong><em>{text}</em></strong>")),
            4 => self.push(&format!("<u>{text}</u><sup>2</sup>")),
            5 => self.push(&format!(r#"<span style="color: rgb(255,86,48);">{text}</span>"#)),
            6 => self.push(&format!(r#"<a href="https://docs.acme.example/a?x=1&amp;y=2">{text}</a>"#)),
            7 => self.push(
                r#"<a href="https://acme.example/board/7" data-card-appearance="inline">https://acme.example/board/7</a>"#,
            ),
            8 | 9 => self.page_link(&text),
            10 => {
                let account = pick(&mut self.rng, ACCOUNTS);
                self.push(&format!(r#"<ac:link><ri:user ri:account-id="{account}" /></ac:link>"#));
            }
            11 => {
                self.open_macro("status");
                self.parameter("title", "IN PROGRESS");
                self.parameter("colour", "Blue");
                self.push("</ac:structured-macro>");
            }
            12 => self.push(
                r#"<ac:emoticon ac:name="blue-star" ac:emoji-shortname=":rocket:" ac:emoji-id="1f680" ac:emoji-fallback="&#128640;" />"#,
            ),
            13 => {
                let reference = uuid(&mut self.rng);
                self.push(&format!(
                    r#"<ac:inline-comment-marker ac:ref="{reference}">{text}</ac:inline-comment-marker>"#
                ));
            }
            14 => self.push(r#"<time datetime="2026-03-14" />"#),
            15 => self.push(&format!("{text}<br />")),
            _ => self.push(&text),
        }
    }

    /// Links name their target by title; the space key is left out when it is the same space.
    fn page_link(&mut self, text: &str) {
        let spaces = self.world.space_keys.len() as u64;
        if spaces == 0 || self.world.pages == 0 {
            return self.push(text);
        }
        let target = self.rng.random_range(0..self.world.pages);
        let title = attribute(&title(self.world.seed, target));
        let keys: Vec<&str> = self.world.space_keys.iter().map(String::as_str).collect();
        let key = nth(&keys, target % spaces);
        let body = if self.rng.random_bool(0.5) {
            format!("<ac:link-body>{text}</ac:link-body>")
        } else {
            String::new()
        };
        self.push(&format!(
            r#"<ac:link ac:card-appearance="inline"><ri:page ri:space-key="{key}" ri:content-title="{title}" ri:version-at-save="1" />{body}</ac:link>"#
        ));
    }

    fn list(&mut self, depth: usize) {
        let ordered = self.rng.random_bool(0.4);
        self.push(if ordered { r#"<ol start="1">"# } else { "<ul>" });
        for _ in 0..self.rng.random_range(2..=4) {
            let text = self.words(2, 8);
            self.push(&format!("<li><p>{text}</p>"));
            if depth < 3 && self.rng.random_range(0..4) == 0 {
                self.list(depth + 1);
            }
            self.push("</li>");
        }
        self.push(if ordered { "</ol>" } else { "</ul>" });
    }

    fn table(&mut self) {
        let id = uuid(&mut self.rng);
        let columns = self.rng.random_range(2..=4);
        self.push(&format!(
            r#"<table data-table-width="760" data-layout="default" ac:local-id="{id}"><tbody><tr>"#
        ));
        for _ in 0..columns {
            let text = self.words(1, 2);
            self.push(&format!("<th><p><strong>{text}</strong></p></th>"));
        }
        self.push("</tr>");
        for _ in 0..self.rng.random_range(1..=4) {
            self.push("<tr>");
            for column in 0..columns {
                let text = self.words(1, 4);
                if column == 0 && self.rng.random_range(0..9) == 0 {
                    self.push(&format!(
                        "<td data-highlight-colour=\"#deebff\"><ul><li><p>{text}</p></li></ul></td>"
                    ));
                } else {
                    self.push(&format!("<td><p>{text} | {column}</p></td>"));
                }
            }
            self.push("</tr>");
        }
        self.push("</tbody></table>");
    }

    fn code(&mut self) {
        self.open_macro("code");
        let language = pick(&mut self.rng, &["java", "sql", "bash", ""]);
        if !language.is_empty() {
            self.parameter("language", language);
        }
        self.parameter("breakoutMode", "wide");
        self.push("<ac:plain-text-body><![CDATA[");
        for line in 0..self.rng.random_range(1..=5) {
            let text = self.words(2, 6);
            self.push(&format!("let v{line} = \"{text}\"; // a < b && c > d\n"));
        }
        if self.rng.random_range(0..4) == 0 {
            // The end mark of CDATA can only be written as two sections.
            self.push("a[b[0]]]]><![CDATA[> 1 ```\n");
        }
        self.push("]]></ac:plain-text-body></ac:structured-macro>");
    }

    fn panel(&mut self) {
        let name = pick(&mut self.rng, &["info", "note", "tip", "warning"]);
        self.open_macro(name);
        if self.rng.random_bool(0.3) {
            self.parameter("title", "Please read");
        }
        let text = self.words(6, 18);
        self.push(&format!("<ac:rich-text-body><p>{text}</p></ac:rich-text-body></ac:structured-macro>"));
    }

    fn expand(&mut self) {
        self.open_macro("expand");
        self.parameter("title", "Details");
        self.push("<ac:rich-text-body>");
        let text = self.words(4, 10);
        self.push(&format!("<p>{text}</p>"));
        self.list(2);
        self.push("</ac:rich-text-body></ac:structured-macro>");
    }

    fn tasks(&mut self) {
        self.push("<ac:task-list>");
        for number in 1..=self.rng.random_range(2..=4) {
            let id = uuid(&mut self.rng);
            let status = pick(&mut self.rng, &["incomplete", "complete"]);
            let text = self.words(3, 8);
            self.push(&format!(
                "<ac:task><ac:task-id>{number}</ac:task-id><ac:task-uuid>{id}</ac:task-uuid>\
                 <ac:task-status>{status}</ac:task-status><ac:task-body>\
                 <span class=\"placeholder-inline-tasks\">{text}</span></ac:task-body></ac:task>"
            ));
        }
        self.push("</ac:task-list>");
    }

    fn image(&mut self) {
        let caption = self.words(2, 6);
        self.push(&format!(
            r#"<ac:image ac:align="center" ac:layout="center" ac:original-height="98" ac:original-width="698" ac:alt="flow.png" ac:width="760"><ri:attachment ri:filename="flow.png" ri:version-at-save="1" /><ac:caption><p>{caption}</p></ac:caption><ac:adf-mark key="border" size="1" color="rgba(9,30,66,0.14)" /></ac:image>"#
        ));
    }

    fn unknown_macro(&mut self) {
        self.open_macro("acme-approval");
        self.parameter("workflow", "b7c1-internal");
        let text = self.words(5, 12);
        self.push(&format!("<ac:rich-text-body><p>{text}</p></ac:rich-text-body></ac:structured-macro>"));
    }

    /// The purple panel of the new editor: its text stands there twice.
    fn adf_panel(&mut self) {
        let text = self.words(5, 12);
        self.push(&format!(
            "<ac:adf-extension><ac:adf-node type=\"panel\"><ac:adf-attribute key=\"panel-type\">note</ac:adf-attribute>\
             <ac:adf-content><p>{text}</p></ac:adf-content></ac:adf-node><ac:adf-fallback><div class=\"panel\">\
             <div class=\"panelContent\"><p>{text}</p></div></div></ac:adf-fallback></ac:adf-extension>"
        ));
    }

    fn rest(&mut self) {
        let text = self.words(4, 10);
        match self.rng.random_range(0..3) {
            0 => self.push("<hr />"),
            1 => self.push(&format!("<blockquote><p>{text}</p></blockquote>")),
            _ => {
                self.open_macro("toc");
                self.parameter("maxLevel", "3");
                self.push("</ac:structured-macro>");
            }
        }
    }
}
