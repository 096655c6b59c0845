//! The Markdown of a document as HTML that does nothing but show text.
//!
//! What the document says comes from people who write in Confluence and is not trusted. Three things stand between it and a
//! browser: HTML in it is text, but for the few tags that the converter writes; what comes out is cleaned by a list of what
//! may be there; and the policy of the service lets no other script run and no image load.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use ammonia::{Builder, UrlRelative};
use comrak::nodes::{AstNode, NodeValue};
use comrak::{Arena, Options, format_html, parse_document};

/// Before each id, so that none is the same as one of the page.
const ID_PREFIX: &str = "text-";

/// The tags that the converter writes, each with a character that is none and stands for it until all else is escaped. One
/// that comes as an entity becomes no more than such a tag.
const TAGS: [(&str, &str); 4] =
    [("<br>", "\u{fdd0}"), ("<code>", "\u{fdd1}"), ("</code>", "\u{fdd2}"), ("<!-- -->", "\u{fdd3}")];

/// The title is the heading of the page already, so it is left out.
pub(super) fn html(markdown: &str) -> String {
    let options = options();
    let arena = Arena::new();
    let mut markdown = Cow::Borrowed(markdown);
    for (_, mark) in TAGS {
        if markdown.contains(mark) {
            markdown = Cow::Owned(markdown.replace(mark, ""));
        }
    }
    let root = parse_document(&arena, &markdown, &options);
    if let Some(first) = root.first_child().filter(|first| level(first) == Some(1)) {
        first.detach();
    }
    let nodes: Vec<_> = root.descendants().collect();
    for node in nodes {
        settle(&arena, node);
    }
    let mut html = String::new();
    if format_html(root, &options, &mut html).is_err() {
        return String::new();
    }
    for (tag, mark) in TAGS {
        html = html.replace(mark, tag);
    }
    // No table has attributes, and a text that looks like one is escaped.
    let wrapped = |html: String| {
        html.replace("<table>", r#"<div class="wide" tabindex="0" role="group" aria-label="Table"><table>"#)
            .replace("</table>", "</table></div>")
    };
    wrapped(cleaned(&html))
}

fn options() -> Options<'static> {
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.tasklist = true;
    options.extension.footnotes = true;
    options.extension.alerts = true;
    options.render.r#unsafe = false;
    options.render.escape = true;
    options.render.tasklist_classes = true;
    options
}

fn level(node: &AstNode<'_>) -> Option<u8> {
    match &node.data().value {
        NodeValue::Heading(heading) => Some(heading.level),
        _ => None,
    }
}

/// Makes of what cannot be shown what can.
fn settle<'a>(arena: &'a Arena<'a>, node: &'a AstNode<'a>) {
    let value = node.data().value.clone();
    let settled = match value {
        // The page's own heading is the first one.
        NodeValue::Heading(mut heading) if heading.level == 1 => {
            heading.level = 2;
            NodeValue::Heading(heading)
        }
        NodeValue::HtmlInline(tag) => match TAGS.iter().find(|(known, _)| *known == tag) {
            Some((_, mark)) => NodeValue::Text(Cow::Borrowed(*mark)),
            None => return,
        },
        // Parts two lists.
        NodeValue::HtmlBlock(block) if block.literal.trim() == "<!-- -->" => {
            node.detach();
            return;
        }
        // An image of the site is shown to those only who are signed in there.
        NodeValue::Image(image) => {
            if node.first_child().is_none() {
                let text = AstNode::from(NodeValue::Text(Cow::Borrowed("image")));
                node.append(arena.alloc(text));
            }
            let mut above = node.ancestors().skip(1).take_while(|above| !above.data().value.block());
            if above.any(|above| matches!(above.data().value, NodeValue::Link(_))) {
                NodeValue::Emph
            } else {
                NodeValue::Link(image)
            }
        }
        NodeValue::TaskItem(task) => {
            let mark = if task.symbol.is_some() { "☑ " } else { "☐ " };
            let mark = arena.alloc(AstNode::from(NodeValue::Text(Cow::Borrowed(mark))));
            match node.first_child().filter(|first| matches!(first.data().value, NodeValue::Paragraph)) {
                Some(first) => first.prepend(mark),
                None => {
                    let paragraph = arena.alloc(AstNode::from(NodeValue::Paragraph));
                    paragraph.append(mark);
                    node.prepend(paragraph);
                }
            }
            NodeValue::Item(comrak::nodes::NodeList::default())
        }
        _ => return,
    };
    node.data_mut().value = settled;
}

fn cleaned(html: &str) -> String {
    let tags: HashSet<&str> = [
        "a",
        "blockquote",
        "br",
        "code",
        "del",
        "div",
        "em",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "section",
        "strong",
        "sup",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "ul",
    ]
    .into();
    let attributes: HashMap<&str, HashSet<&str>> = [
        ("a", ["href", "id"].into()),
        ("li", ["id"].into()),
        ("ol", ["start"].into()),
        ("td", ["align"].into()),
        ("th", ["align"].into()),
    ]
    .into();
    let alerts = [
        "markdown-alert",
        "markdown-alert-note",
        "markdown-alert-tip",
        "markdown-alert-important",
        "markdown-alert-warning",
        "markdown-alert-caution",
    ];
    let classes: HashMap<&str, HashSet<&str>> = [
        ("div", alerts.into()),
        ("p", ["markdown-alert-title"].into()),
        ("section", ["footnotes"].into()),
        ("ul", ["contains-task-list"].into()),
    ]
    .into();
    Builder::empty()
        .tags(tags)
        .tag_attributes(attributes)
        .allowed_classes(classes)
        .set_tag_attribute_value("pre", "tabindex", "0")
        .clean_content_tags(["script", "style"].into())
        .url_schemes(["http", "https", "mailto"].into())
        // Else a document could lead to the pages of this service.
        .url_relative(UrlRelative::Custom(Box::new(within)))
        .link_rel(Some("noopener noreferrer nofollow"))
        .id_prefix(Some(ID_PREFIX))
        .clean(html)
        .to_string()
}

/// The address of a footnote.
fn within(address: &str) -> Option<Cow<'_, str>> {
    let id = address.strip_prefix('#')?;
    Some(Cow::Owned(format!("#{ID_PREFIX}{id}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_converter_writes_is_shown() {
        let shown = html(
            "# Title\n\n## Part\n\nA~~b~~ [c](https://a.example/x)[^1]\n\n[^1]: Note\n\n> [!NOTE]\n> Mind\n\n- [x] done\n- [ ] open\n- [x]\n\n  late\n\n| a | b |\n| --- | --- |\n| 1<br>2 | <code>x&#124;y</code> |\n",
        );
        for expected in [
            "<h2>Part</h2>",
            "<del>b</del>",
            r#"href="https://a.example/x" rel="noopener noreferrer nofollow""#,
            "markdown-alert-note",
            "☑ done",
            "☐ open",
            "1<br>",
            "<code>x|y</code>",
            r#"<div class="wide""#,
        ] {
            assert!(shown.contains(expected), "{expected}\n{shown}");
        }
        assert!(html("a\u{fdd1}b").contains("ab"), "no mark from outside");
        assert!(!shown.contains("Title") && !shown.contains("<input"), "{shown}");
    }

    #[test]
    fn footnotes_lead_to_their_notes_by_ids_of_their_own() {
        let shown = html("a[^1]\n\n[^1]: Note\n");
        assert!(shown.contains(r##"href="#text-fn-1""##) && shown.contains(r#"id="text-fn-1""#), "{shown}");
    }

    #[test]
    fn images_are_links_with_their_text() {
        let shown = html(
            "![A plan](https://a.example/plan.png) ![](https://a.example/x.png) [![in](https://a/i.png)](https://b.example)",
        );
        assert!(!shown.contains("<img"), "{shown}");
        assert!(
            shown.contains(
                r#"<a href="https://a.example/plan.png" rel="noopener noreferrer nofollow">A plan</a>"#
            ),
            "{shown}"
        );
        assert!(shown.contains(">image</a>"), "{shown}");
        assert!(
            shown.contains(
                r#"<a href="https://b.example" rel="noopener noreferrer nofollow"><em>in</em></a>"#
            ),
            "{shown}"
        );
    }

    #[test]
    fn nothing_that_does_anything_comes_through() {
        let hostile = "<script>alert(1)</script>\n\n<img src=x onerror=alert(1)>\n\na <svg onload=alert(1)> b\n\n\
            [x](javascript:alert(1)) [y](data:text/html,z) [z](/sign-out) [w](//evil.example) [v](keys)\n\n\
            ![i](javascript:alert(1))\n\n<style>*{}</style>\n\n```\"><script>\nx\n```\n\n| <iframe> |\n| --- |\n| </table><form> |\n\
            <a id=\"main\" class=\"skip\" style=\"x\">\n\n<code onclick=x>y</code> &#xfdd1;z [&#xfdd0;](https://a.example/&#xfdd0; \"&#xfdd1;\")\n";
        let shown = html(hostile);
        let tags: Vec<&str> = shown.split('<').skip(1).filter_map(|tag| tag.split('>').next()).collect();
        for tag in &tags {
            let name = tag.trim_start_matches('/').split(' ').next().unwrap();
            let known = ["a", "p", "pre", "code", "div", "table", "thead", "tbody", "tr", "th", "td", "br"];
            assert!(known.contains(&name), "{tag}");
            assert!(!tag.contains("javascript") && !tag.contains(" on") && !tag.contains("style="), "{tag}");
        }
        assert!(shown.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{shown}");
        for address in ["/sign-out", "//evil", "\"keys", "data:", "\"main"] {
            assert!(!tags.iter().any(|tag| tag.contains(address)), "{address}\n{shown}");
        }
    }

    #[test]
    fn a_deep_and_long_document_takes_no_deep_stack() {
        let deep = format!("{} x\n\n{}", "> ".repeat(20_000), "- a\n".repeat(5_000));
        assert!(html(&deep).contains('x'));
        assert!(html(&"[".repeat(50_000)).contains('['));
    }
}
