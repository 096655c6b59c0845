//! What all pages share: the frame, and how times, numbers, links, problems and fields look.

use chrono::DateTime;
use maud::{DOCTYPE, Markup, html};

use super::assets::{ICON, SCRIPT, STYLE};
use crate::service::access::Access;
use crate::service::problem::Problem;
use crate::source_file::space_of;

/// Which part of the service a page is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum Section {
    Sources,
    Documents,
    Keys,
    Api,
    None,
}

/// A whole page. Without access nobody is signed in.
pub(in crate::service) fn page(
    access: Option<&Access>,
    section: Section,
    title: &str,
    content: Markup,
) -> Markup {
    framed(access, section, title, &html! {}, content)
}

/// A page that shows something under way: without script it is loaded again and again.
pub(super) fn live_page(access: &Access, section: Section, title: &str, content: Markup) -> Markup {
    let head = html! { noscript { meta http-equiv="refresh" content="5"; } };
    framed(Some(access), section, title, &head, content)
}

fn framed(access: Option<&Access>, section: Section, title: &str, head: &Markup, content: Markup) -> Markup {
    let link = |to: Section, address: &str, text: &str| {
        html! { a href=(address) aria-current=[(to == section).then_some("page")] { (text) } }
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · kai" }
                link rel="stylesheet" href=(STYLE.address());
                link rel="icon" href=(ICON.address()) type="image/svg+xml";
                script src=(SCRIPT.address()) defer {}
                (head)
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                header class="top" {
                    div class="bar" {
                        a class="brand" href="/" { "kai" }
                        nav aria-label="Main" {
                            @if access.is_some() {
                                (link(Section::Sources, "/", "Sources"))
                                (link(Section::Documents, "/documents", "Documents"))
                            }
                            @if access.is_some_and(|access| access.tenant_id().is_none()) {
                                (link(Section::Keys, "/keys", "Keys"))
                            }
                            (link(Section::Api, "/api", "API"))
                        }
                        @if let Some(access) = access {
                            div class="who" {
                                span { (access.tenant_id().unwrap_or("administration")) }
                                form method="post" action="/sign-out" {
                                    button class="plain" { "Sign out" }
                                }
                            }
                        } @else if section != Section::None {
                            div class="who" { a href="/sign-in" { "Sign in" } }
                        }
                    }
                }
                main id="main" tabindex="-1" { (content) }
                div id="announcement" class="unseen" role="status" {}
            }
        }
    }
}

/// The content of a page that there is only because of a problem.
pub(super) fn problem_page(problem: &Problem) -> Markup {
    html! {
        div class="narrow" {
            h1 { (problem.title) }
            p class="lead" { (sentence(&problem.detail)) }
            p { a href="/" { "Back to the sources" } }
        }
    }
}

/// A problem on a page that has something else to show.
pub(super) fn notice(problem: &Problem) -> Markup {
    html! {
        div class="notice bad" role="alert" {
            p { strong { (problem.title) } }
            p { (sentence(&problem.detail)) }
            p class="quiet" { (problem.kind.remedy()) }
        }
    }
}

/// What an error says, for people: its first letter is a capital, unless it is the name of something.
pub(super) fn sentence(text: &str) -> String {
    let first_word = text.split(' ').next().unwrap_or_default();
    let mut rest = text.chars();
    match rest.next() {
        Some(first) if first_word.trim_end_matches(':').chars().all(char::is_alphabetic) => {
            first.to_uppercase().chain(rest).collect()
        }
        _ => text.to_owned(),
    }
}

/// A moment in RFC 3339; script shows how long ago that is.
pub(super) fn time(at: &str) -> Markup {
    match DateTime::parse_from_rfc3339(at) {
        Ok(parsed) => {
            let shown = parsed.to_utc().format("%-d %b %Y, %H:%M UTC").to_string();
            html! { time datetime=(at) { (shown) } }
        }
        Err(_) => html! { (at) },
    }
}

/// 1,234,567.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// 3 documents, 1 document.
pub(super) fn count(of: u64, what: &str) -> String {
    format!("{} {what}{}", number(of), if of == 1 { "" } else { "s" })
}

/// A span of time in its two largest units.
pub(super) fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut left = whole;
    let mut parts = Vec::new();
    for (size, unit) in units {
        if left >= size {
            parts.push(format!("{} {unit}", left / size));
            left %= size;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    parts.join(" ")
}

/// A link out of the service, where the address is one of the web; else its text alone.
pub(super) fn outbound(address: &str, text: &str) -> Markup {
    if is_web(address) {
        html! { a href=(address) rel="noopener noreferrer nofollow" { (text) } }
    } else {
        html! { (text) }
    }
}

fn is_web(address: &str) -> bool {
    url::Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// How a source is called: the host of its site.
pub(super) fn host(base_url: &str) -> String {
    let url = url::Url::parse(base_url).ok();
    let host = url.as_ref().and_then(|url| {
        let host = url.host_str()?;
        Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    });
    host.unwrap_or_else(|| base_url.to_owned())
}

/// What of a source is read.
pub(super) fn scope(scope: Option<&str>) -> String {
    scope.map_or_else(|| "every visible space".to_owned(), |scope| format!("space {}", space_of(scope)))
}

/// A text field with its label, help, and what is wrong with it.
#[derive(Default)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) kind: &'a str,
    pub(super) value: &'a str,
    pub(super) help: &'a str,
    pub(super) autocomplete: &'a str,
    pub(super) placeholder: &'a str,
    pub(super) required: bool,
    pub(super) problem: Option<&'a Problem>,
}

impl maud::Render for Field<'_> {
    fn render(&self) -> Markup {
        let (help, error) = (format!("{}-help", self.name), format!("{}-error", self.name));
        let described = if self.help.is_empty() { error.clone() } else { format!("{error} {help}") };
        let kind = if self.kind.is_empty() { "text" } else { self.kind };
        let autocomplete = if self.autocomplete.is_empty() { "off" } else { self.autocomplete };
        html! {
            div class="field" {
                label for=(self.name) {
                    (self.label) @if !self.required { " " span class="quiet" { "(optional)" } }
                }
                input id=(self.name) name=(self.name) type=(kind) value=[(kind != "password").then_some(self.value)]
                    required[self.required] autocomplete=(autocomplete) spellcheck="false" autocapitalize="none"
                    placeholder=[(!self.placeholder.is_empty()).then_some(self.placeholder)]
                    aria-describedby=(described) aria-invalid=[self.problem.map(|_| "true")]
                    autofocus[self.problem.is_some()];
                p id=(error) class="error" hidden[self.problem.is_none()] {
                    @if let Some(problem) = self.problem { (sentence(&problem.detail)) }
                }
                @if !self.help.is_empty() { p id=(help) class="help" { (self.help) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_read_well() {
        assert_eq!(number(7), "7");
        assert_eq!(number(1_234), "1,234");
        assert_eq!(number(12_345_678), "12,345,678");
        assert_eq!(count(1, "document"), "1 document");
        assert_eq!(span(0.25), "0.2 s");
        assert_eq!(span(75.0), "1 min 15 s");
        assert_eq!(span(7_200.0), "2 h");
        assert_eq!(span(90_061.0), "1 d 1 h");
        assert_eq!(span(86_401.0), "1 d");
    }

    #[test]
    fn only_addresses_of_the_web_are_links() {
        for good in ["https://a.example/x", "HTTP://a.example"] {
            assert!(outbound(good, "t").into_string().starts_with("<a "), "{good}");
        }
        for bad in
            ["javascript:alert(1)", " javascript:alert(1)", "data:text/html,x", "//a.example", "/keys", ""]
        {
            assert_eq!(outbound(bad, "<t>").into_string(), "&lt;t&gt;", "{bad}");
        }
    }

    #[test]
    fn a_source_is_called_by_its_host() {
        assert_eq!(host("https://acme.atlassian.net/"), "acme.atlassian.net");
        assert_eq!(host("http://127.0.0.1:4711"), "127.0.0.1:4711");
        assert_eq!(host("no address"), "no address");
        assert_eq!(scope(None), "every visible space");
        assert_eq!(scope(Some("/spaces/ENG")), "space ENG");
    }

    #[test]
    fn names_keep_their_letters_at_the_head_of_a_sentence() {
        assert_eq!(sentence("there is no such page"), "There is no such page");
        assert_eq!(sentence("unavailable: the site is away"), "Unavailable: the site is away");
        assert_eq!(sentence("base_url is empty"), "base_url is empty");
        assert_eq!(sentence(""), "");
    }
}
