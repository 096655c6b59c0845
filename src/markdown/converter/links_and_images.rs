//! Links, images and emoji: what they show, and what the operator is told where they lead nowhere.

use std::borrow::Cow;

use super::{Converter, ImageState, LinkState, REACH, State};
use crate::markdown::elements::{Element, Kind};
use crate::markdown::entities::decode;
use crate::markdown::inline;
use crate::markdown::targets::{self, Target};
use crate::markdown::tokenizer::{Tag, Token, Tokenizer};
use crate::markdown::{emoji, escape};

/// How many tokens are looked at for the file of an image whose caption comes first.
const LOOK_AHEAD: usize = 64;

/// What an image shows where that stands behind its caption (facts E7), which is shown below: the tokens begin within it.
fn target_behind_caption(tokens: Tokenizer<'_>) -> Target<'_> {
    let mut target = Target::default();
    let mut in_caption = true;
    for token in tokens.take(LOOK_AHEAD) {
        match token {
            Token::End("ac:image") => break,
            Token::End("ac:caption") => in_caption = false,
            Token::Start(tag) if !in_caption => {
                if let Element::Resource(resource) = Kind::of(tag.name).element {
                    target.add(resource, &tag);
                }
            }
            _ => {}
        }
    }
    target
}

impl<'a> Converter<'a> {
    /// A link whose target cannot be told, for the reason given.
    pub(super) fn notice_link(&mut self, reason: Option<&str>) {
        if let Some(reason) = reason {
            self.notice(&format!("link without target: {reason}"), 1);
        }
    }

    /// The same of an image.
    pub(super) fn notice_image(&mut self, reason: Option<&str>) {
        if let Some(reason) = reason {
            self.notice(&format!("image without target: {reason}"), 1);
        }
    }

    /// Something that stands by itself begins: it does not share a line with the one before it.
    pub(super) fn begin_object(&mut self) {
        let level = self.level();
        if level.object_end == Some(level.inline.shown()) && !level.inline.link_has_text() {
            self.flush();
        }
    }

    pub(super) fn end_object(&mut self) {
        let level = self.level();
        level.object_end = Some(level.inline.shown());
    }

    pub(super) fn open_link_address(&mut self) -> Option<String> {
        let page = self.page;
        self.nearest(|frame| match &frame.state {
            State::Link(link) if link.counts => Some(link.target.address(page)),
            State::Anchor(anchor) if anchor.counts => {
                Some(targets::link(&anchor.href, page.base_url).map(Cow::into_owned))
            }
            _ => None,
        })
        .flatten()
    }

    pub(super) fn end_link(&mut self, link: &LinkState<'a>) {
        let page = self.page;
        if self.level().inline.shown() <= link.shown
            && let Some(name) = link.target.name()
        {
            let is_anchor = !link.target.is_some();
            let name = if is_anchor { targets::decoded(name) } else { Cow::Borrowed(name) };
            self.level().inline.push_text(&name);
        }
        if link.counts {
            let address = link.target.address(page);
            self.notice_link(link.target.unresolved(address.as_deref()));
            self.level().inline.end_link(address.as_deref());
        }
    }

    /// A link to what `ri:*` or its like identifies.
    pub(super) fn resource_link(&mut self, text: &str, target: &Target<'_>) {
        let address = target.address(self.page);
        self.notice_link(target.unresolved(address.as_deref()));
        self.link(text, address.as_deref());
    }

    /// A link that stands by itself.
    pub(super) fn link(&mut self, text: &str, address: Option<&str>) {
        let counts = self.level().inline.begin_link();
        self.level().inline.push_text(text);
        if counts {
            self.level().inline.end_link(address);
        }
    }

    /// Writes the image whose caption begins.
    pub(super) fn write_image(&mut self) {
        let tokens = &self.tokens;
        let mut looked_ahead = false;
        let image = self.stack.iter_mut().rev().take(REACH).find_map(|frame| match &mut frame.state {
            State::Image(image) if !image.written => {
                if !image.target.is_some() && !looked_ahead {
                    looked_ahead = true;
                    image.target = target_behind_caption(tokens.clone());
                }
                image.target.is_some().then_some(image)
            }
            _ => None,
        });
        if let Some(image) = image {
            image.written = true;
            let image = ImageState { tag: image.tag, target: image.target.clone(), written: true };
            self.show_image(&image);
        }
    }

    pub(super) fn show_image(&mut self, image: &ImageState<'a>) {
        let attribute =
            |name: &str| image.tag.attribute(name).map(decode).filter(|value| !value.trim().is_empty());
        let alt = attribute("ac:alt").or_else(|| attribute("ac:title"));
        let address = image.target.address(self.page);
        let file = address.is_some().then(|| image.target.file_name()).flatten();
        let alt = alt.as_deref().or(file).unwrap_or_default();
        self.notice_image(image.target.unresolved(address.as_deref()));
        let stands_alone = image.tag.attribute("ac:inline") != Some("true") && !self.in_text();
        if stands_alone {
            self.begin_object();
        }
        if image.target.is_file_of_other_page() {
            self.link(alt, address.as_deref());
        } else {
            self.image(alt, address.as_deref());
        }
        if stands_alone {
            self.end_object();
        }
    }

    pub(super) fn image(&mut self, alt: &str, address: Option<&str>) {
        let Some(address) = address else {
            self.level().inline.push_text(alt);
            return;
        };
        let in_cell = self.level().blocks.in_cell();
        let mut markdown = String::with_capacity(alt.len() + address.len() + 8);
        markdown.push_str("![");
        let alt = alt.split_whitespace().collect::<Vec<_>>().join(" ");
        let surroundings =
            escape::Surroundings { before: Some('['), in_link: true, in_strike: true, in_cell };
        let _ = escape::push(&mut markdown, &alt, surroundings);
        markdown.push_str("](");
        inline::push_destination(&mut markdown, address, in_cell);
        markdown.push(')');
        self.level().inline.push_markdown(&markdown);
    }

    pub(super) fn emoticon(&mut self, tag: &Tag<'a>) {
        let attribute = |name: &str| tag.attribute(name).map(decode).filter(|value| !value.is_empty());
        let fallback = attribute("ac:emoji-fallback");
        let legacy = tag.attribute("ac:name").and_then(emoji::legacy);
        // A fallback like `:smile:` is only a name; the legacy character is better, unless it is the filler
        // `blue-star` (facts E8).
        let text = match (fallback, legacy) {
            (Some(text), Some(legacy))
                if text.starts_with(':') && tag.attribute("ac:name") != Some("blue-star") =>
            {
                Cow::Borrowed(legacy)
            }
            (Some(text), _) => text,
            (None, Some(legacy)) => Cow::Borrowed(legacy),
            (None, None) => attribute("ac:emoji-shortname").unwrap_or_default(),
        };
        self.level().inline.push_text(&text);
    }
}
