//! What the macros of [`macros`](super::super::macros) show: their bodies, titles and parameters.

use super::{Converter, MacroState, State};
use crate::markdown::inline::Mark;
use crate::markdown::macros::Becomes;
use crate::markdown::targets::{self, Target};

impl<'a> Converter<'a> {
    /// The body of a macro begins.
    pub(super) fn begin_body(&mut self) -> State<'a> {
        let found = self.nearest(|frame| match &mut frame.state {
            State::Macro(state) => {
                state.has_body = true;
                let hidden = state.parameter("hidden") == Some("true");
                let inline = state.parameter("atlassian-macro-output-type") == Some("INLINE");
                Some((state.becomes, state.parameter("title").map(str::to_owned), hidden, inline))
            }
            _ => None,
        });
        let Some((becomes, title, hidden, inline)) = found else {
            self.flush();
            return State::None;
        };
        if (hidden && becomes == Becomes::Body) || becomes == Becomes::Hidden {
            self.hidden += 1;
            return State::Hidden;
        }
        let has_no_frame = !matches!(becomes, Becomes::Alert(_) | Becomes::Quote | Becomes::Titled);
        if inline || (has_no_frame && self.in_text()) {
            return State::Inert;
        }
        self.flush();
        match becomes {
            Becomes::Alert(alert) => self.level().blocks.begin_quote(Some(alert)),
            Becomes::Quote => self.level().blocks.begin_quote(None),
            Becomes::Titled => {
                self.title(title.as_deref());
                return State::None;
            }
            _ => return State::None,
        }
        self.title(title.as_deref());
        State::Container
    }

    /// A title in bold, as a paragraph of its own.
    pub(super) fn title(&mut self, title: Option<&str>) {
        if let Some(title) = title {
            self.level().inline.begin(Mark::Strong);
            self.level().inline.push_text(title);
            self.level().inline.end(Mark::Strong);
            self.flush();
        }
    }

    pub(super) fn plain_text_body(&mut self, text: &str) {
        let found = self.nearest(|frame| match &mut frame.state {
            State::Macro(state) => {
                state.has_body = true;
                // The legacy notation `{code:sql}` has it in the parameter without a name.
                let language = state.parameter("language").or_else(|| state.parameter("")).map(str::to_owned);
                let title = state.parameter("title").map(str::to_owned);
                Some((state.becomes, language, title, state.name.contains("inline")))
            }
            _ => None,
        });
        let (becomes, language, title, inline) = found.unwrap_or((Becomes::Code(""), None, None, false));
        if becomes == Becomes::Hidden {
            return;
        }
        if becomes == Becomes::Formula && inline {
            self.inline_code(text);
            return;
        }
        self.flush();
        self.title(title.as_deref());
        if text.trim().is_empty() {
            return;
        }
        let language = match becomes {
            Becomes::Code(fixed) => language.unwrap_or_else(|| fixed.to_owned()),
            Becomes::Formula => "latex".to_owned(),
            _ => String::new(),
        };
        self.level().blocks.code(text, &language);
    }

    pub(super) fn inline_code(&mut self, text: &str) {
        let inline = &mut self.level().inline;
        inline.begin_code();
        inline.push_text(text);
        inline.end_code();
    }

    /// What a macro without a body shows.
    pub(super) fn end_macro(&mut self, state: &MacroState<'a>) {
        if state.has_body {
            return;
        }
        let stands_alone =
            matches!(state.becomes, Becomes::PageLink | Becomes::FileLink | Becomes::Diagram(_));
        if stands_alone {
            self.begin_object();
        }
        self.show_macro(state);
        if stands_alone {
            self.end_object();
        }
    }

    pub(super) fn show_macro(&mut self, state: &MacroState<'a>) {
        let page = self.page;
        match state.becomes {
            Becomes::Status => {
                self.level().inline.push_text(state.parameter("title").unwrap_or_default());
            }
            Becomes::Issue => {
                if let Some(key) = state.parameter("key") {
                    let address = format!("{}/browse/{}", page.base_url, targets::encoded(key));
                    self.link(key, Some(&address));
                }
            }
            Becomes::Titled => {
                self.flush();
                self.title(state.parameter("title"));
            }
            Becomes::PageLink => {
                let named = state.parameter("").or_else(|| state.parameter("page")).map(Target::page_named);
                let target = named.as_ref().filter(|_| !state.target.is_some()).unwrap_or(&state.target);
                // `@self` and `@home` name no page to go to.
                match target.name().filter(|name| !name.starts_with('@')) {
                    Some(name) => self.resource_link(name, target),
                    // The children of the page itself have documents of their own.
                    None if state.name == "children" => {}
                    None => self.notice_link(Some("page of a macro")),
                }
            }
            Becomes::FileLink => {
                if state.target.is_some() {
                    self.resource_link(state.target.name().unwrap_or_default(), &state.target);
                } else if let Some(url) = state.parameter("url").or_else(|| state.parameter("src")) {
                    // The address is a parameter and no text of the page: where nobody may go, nothing is shown.
                    match targets::link(url, page.base_url) {
                        Some(address) => self.link(url, Some(&address)),
                        None => self.notice_link(Some(targets::missing(url))),
                    }
                } else if let Some(name) = state.parameter("name") {
                    self.resource_link(name, &Target::file_named(name));
                } else {
                    self.notice_link(Some("file of a macro"));
                }
            }
            Becomes::Diagram(ending) => {
                if let Some(name) = state.parameter("diagramName").or_else(|| state.parameter("name")) {
                    let file =
                        if name.ends_with(ending) { name.to_owned() } else { format!("{name}{ending}") };
                    // A diagram that is shown from another page lies there.
                    let owner = state.parameter("pageId").or_else(|| state.parameter("pageid"));
                    let address = format!(
                        "{}/wiki/download/attachments/{}/{}",
                        page.base_url,
                        targets::encoded(owner.unwrap_or(page.id)),
                        targets::encoded(&file)
                    );
                    self.image(name, Some(&address));
                } else {
                    self.notice_image(Some("file of a macro"));
                }
            }
            Becomes::Formula => {
                let parameter = ["body", "equation", ""].into_iter().find_map(|name| state.parameter(name));
                let formula = parameter.unwrap_or_default();
                if state.name.contains("inline") {
                    self.inline_code(formula);
                } else if !formula.is_empty() {
                    self.flush();
                    self.level().blocks.code(formula, "latex");
                }
            }
            _ => {}
        }
    }
}
