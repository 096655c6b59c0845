//! What must hold for every page, whatever is in it: no text is lost or invented, text stays text, structure stays
//! structure, nothing panics, and time and output stay in proportion to the input.

mod markdown_reader;

use std::time::{Duration, Instant};

use confluence_connector::markdown::{Markdown, Page, convert};
use markdown_reader::{Seen, read, without_controls};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn converted(storage: &str) -> Markdown {
    let page =
        Page { id: "1", title: "", space_key: "K", base_url: "https://example.atlassian.net", storage };
    convert(&page)
}

fn seen(storage: &str) -> Seen {
    read(&converted(storage).text)
}

/// How many cases each property tries; `PROPTEST_CASES` says otherwise.
fn cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig {
        failure_persistence: None,
        max_global_rejects: u32::MAX,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases, ..config } }
}

/// Text as it stands in a page.
fn markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Text as a browser shows it: white space folded, without control characters, which show nothing.
fn folded(text: &str) -> String {
    let is_folded = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c' | '\u{a0}');
    let shown = without_controls(text);
    let folded = shown.split(is_folded).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    folded.trim().to_owned()
}

/// Text without any white space: equal even where blocks begin and end elsewhere.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect()
}

/// Pieces that mean something to Markdown or HTML, and some that are merely odd.
const HOSTILE: &[&str] = &[
    "*",
    "**",
    "***",
    "_",
    "__",
    "`",
    "``",
    "```",
    "~",
    "~~",
    "~~~",
    "[",
    "]",
    "(",
    ")",
    "[x]",
    "[ ]",
    "](",
    "][",
    "]:",
    "![",
    "!",
    "<",
    ">",
    "<b>",
    "</b>",
    "<br>",
    "<!--",
    "-->",
    "<a@b.c>",
    "<1@a.b>",
    "<https://a.b>",
    "&",
    "&amp;",
    "&lt;",
    "&#65;",
    "&nbsp;",
    "&copy",
    "#",
    "##",
    "# ",
    "- ",
    "+ ",
    "* ",
    "1. ",
    "2) ",
    "10.",
    "-",
    "--",
    "---",
    "===",
    "_ _ _",
    "* * *",
    "|",
    "||",
    "|-|",
    "\\",
    "\\\\",
    "\\*",
    "\\|",
    ":",
    ":-",
    ":smile:",
    "[^1]",
    "[!NOTE]",
    "[a]: b",
    "https://a.b/c_d_e",
    "www.a.b",
    "a@b.c",
    "$x$",
    "{x}",
    "%20",
    "=",
    "\"",
    "'",
    "^",
    "@",
    "\u{200b}",
    "\u{202e}",
    "\u{2028}",
    "a\u{feff}b",
    "\u{85}",
    "\u{3000}",
    "\u{2003}",
    "\u{a0}",
    "é",
    "e\u{301}",
    "한국어",
    "日本",
    "。",
    "，",
    "“",
    "”",
    "–",
    "…",
    "🙂",
    "👩‍👩‍👧",
    "\u{1}",
    "\t",
    "\n",
    "  ",
    "\u{ad}",
    "a",
    "B",
    "word",
    "two words",
    "1",
    "7",
];

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => select(HOSTILE).prop_map(str::to_owned),
        2 => "[a-z]{1,4}",
        1 => Just(" ".to_owned()),
        1 => "\\PC{1,3}",
    ];
    vec(piece, 1..10).prop_map(|pieces| pieces.concat())
}

/// A piece of a page and the text that a reader sees of it.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Element(&'static str, &'static str, Vec<Piece>),
    Macro(&'static str, Vec<Piece>),
    Plain(&'static str, String),
    Table(Vec<Vec<Vec<Piece>>>),
    Empty(&'static str),
}

impl Piece {
    fn write(&self, page: &mut String, text: &mut String) {
        let all = |pieces: &[Piece], page: &mut String, text: &mut String| {
            pieces.iter().for_each(|piece| piece.write(page, text));
        };
        match self {
            Piece::Text(own) => {
                *page += &markup(own);
                *text += own;
            }
            Piece::Element(name, attributes, inside) => {
                *page += &format!("<{name}{attributes}>");
                all(inside, page, text);
                *page += &format!("</{name}>");
            }
            Piece::Macro(name, inside) => {
                *page += &format!(
                    "<ac:structured-macro ac:name=\"{name}\"><ac:parameter ac:name=\"x\">machine</ac:parameter>\
                     <ac:rich-text-body>"
                );
                all(inside, page, text);
                *page += "</ac:rich-text-body></ac:structured-macro>";
            }
            Piece::Plain(name, own) => {
                let safe = own.replace("]]>", "]]]]><![CDATA[>");
                *page += &format!(
                    "<ac:structured-macro ac:name=\"{name}\"><ac:plain-text-body><![CDATA[{safe}]]>\
                     </ac:plain-text-body></ac:structured-macro>"
                );
                *text += own;
            }
            Piece::Table(rows) => {
                *page += "<table><tbody>";
                for row in rows {
                    *page += "<tr>";
                    for cell in row {
                        *page += "<td>";
                        all(cell, page, text);
                        *page += "</td>";
                    }
                    *page += "</tr>";
                }
                *page += "</tbody></table>";
            }
            Piece::Empty(tag) => *page += tag,
        }
    }
}

/// Elements whose text is simply their text.
const ELEMENTS: &[(&str, &str)] = &[
    ("p", ""),
    ("p", " style=\"text-align: center;\""),
    ("h1", ""),
    ("h3", ""),
    ("h6", ""),
    ("ul", ""),
    ("ol", " start=\"7\""),
    ("ol", ""),
    ("li", ""),
    ("li", ""),
    ("blockquote", ""),
    ("strong", ""),
    ("em", ""),
    ("b", ""),
    ("s", ""),
    ("u", ""),
    ("sub", ""),
    ("span", ""),
    ("span", " style=\"text-decoration: line-through;\""),
    ("code", ""),
    ("pre", ""),
    ("a", " href=\"https://example.com/x\""),
    ("a", " href=\"javascript:x\""),
    ("div", ""),
    ("ac:layout-cell", ""),
    ("ac:inline-comment-marker", " ac:ref=\"1\""),
    ("ac:link-body", ""),
    ("ac:task-list", ""),
    ("ac:task", ""),
    ("ac:task-body", ""),
    ("ac:caption", ""),
    ("dd", ""),
    ("no-such-element", ""),
    ("ac:rich-text-body", ""),
    ("ac:adf-content", ""),
];

/// Parts of tables without their table: as in a browser, text between cells moves before the table.
const PARTS_OF_TABLES: &[(&str, &str)] = &[
    ("td", ""),
    ("td", " rowspan=\"1\""),
    ("th", ""),
    ("tr", ""),
    ("tbody", ""),
    ("table", ""),
    ("p", ""),
    ("b", ""),
];

fn pieces(elements: &'static [(&'static str, &'static str)]) -> impl Strategy<Value = Vec<Piece>> {
    let leaf = prop_oneof![
        8 => hostile().prop_map(Piece::Text),
        2 => (select(&["code", "noformat", "no-such-macro", "mathinline", "plantuml"][..]), hostile())
            .prop_map(|(name, text)| Piece::Plain(name, text)),
        2 => select(&["<br/>", "<hr/>", "<p />", "<ac:image><ri:attachment ri:filename=\"a.png\"/></ac:image>",
            "<!-- c -->", "<ac:placeholder>hint</ac:placeholder>", "</p>", "</b>", "</li>", "<col>"][..])
            .prop_map(Piece::Empty),
    ];
    let piece = leaf.prop_recursive(6, 60, 5, move |inside| {
        prop_oneof![
            6 => (select(elements), vec(inside.clone(), 0..5))
                .prop_map(|((name, attributes), inside)| Piece::Element(name, attributes, inside)),
            2 => (select(&["info", "note", "panel", "expand", "excerpt", "section", "no-such-macro", "ui-tab"][..]),
                vec(inside.clone(), 0..5)).prop_map(|(name, inside)| Piece::Macro(name, inside)),
            1 => vec(vec(vec(inside, 0..3), 1..4), 1..4).prop_map(Piece::Table),
        ]
    });
    vec(piece, 0..6)
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn the_text_of_any_tree_is_kept_in_order(pieces in pieces(ELEMENTS)) {
        let (mut page, mut text) = (String::new(), String::new());
        pieces.iter().for_each(|piece| piece.write(&mut page, &mut text));
        let markdown = converted(&page).text;
        let seen = read(&markdown);
        prop_assert_eq!(squeezed(&seen.text), squeezed(&text), "\npage:\n{}\nmarkdown:\n{}", page, markdown);
        prop_assert!(seen.html.is_empty(), "{:?}", seen.html);
    }

    #[test]
    fn no_text_is_lost_from_broken_tables(pieces in pieces(PARTS_OF_TABLES)) {
        let (mut page, mut text) = (String::new(), String::new());
        pieces.iter().for_each(|piece| piece.write(&mut page, &mut text));
        let markdown = converted(&page).text;
        let sorted = |text: &str| {
            let mut characters: Vec<char> = squeezed(text).chars().collect();
            characters.sort_unstable();
            String::from_iter(characters)
        };
        prop_assert_eq!(sorted(&read(&markdown).text), sorted(&text), "\npage:\n{}\nmarkdown:\n{}", page, markdown);
    }

    #[test]
    fn hostile_text_renders_as_itself_in_a_paragraph(text in hostile()) {
        let seen = seen(&format!("<p>{}</p>", markup(&text)));
        prop_assert_eq!(folded(&seen.text), folded(&text));
        prop_assert!(seen.links.is_empty() && seen.code.is_empty() && seen.headings.is_empty());
        prop_assert!(seen.items.is_empty() && seen.tables.is_empty() && seen.html.is_empty());
        prop_assert!(seen.alerts + seen.quotes == 0 && seen.images.is_empty());
    }

    #[test]
    fn hostile_text_renders_as_itself_in_pieces_and_marks(
        parts in vec((hostile(), select(&["", "strong", "em", "s", "code", "u"][..])), 1..6)
    ) {
        let mut page = String::new();
        let mut text = String::new();
        for (part, mark) in &parts {
            match *mark {
                "" => page += &markup(part),
                mark => page += &format!("<{mark}>{}</{mark}>", markup(part)),
            }
            text += part;
        }
        let markdown = converted(&format!("<p>{page}</p>")).text;
        let seen = read(&markdown);
        // Code keeps its white space; only its amount may differ.
        let spaced = |text: &str| {
            without_controls(text).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        prop_assert_eq!(spaced(&seen.text), spaced(&text), "{}\n{}", page, markdown);
        prop_assert!(seen.html.is_empty() && seen.items.is_empty() && seen.headings.is_empty());
    }

    #[test]
    fn lines_of_hostile_text_stay_one_paragraph(lines in vec(hostile(), 1..5)) {
        let page = lines.iter().map(|line| markup(line)).collect::<Vec<_>>().join("<br />");
        let markdown = converted(&format!("<p>{page}</p>")).text;
        let seen = read(&markdown);
        prop_assert_eq!(folded(&seen.text), folded(&lines.join(" ")), "{}", markdown);
        prop_assert!(seen.headings.is_empty() && seen.items.is_empty() && seen.tables.is_empty(), "{}", markdown);
        prop_assert!(seen.quotes + seen.alerts == 0 && seen.html.is_empty(), "{}", markdown);
    }

    #[test]
    fn headings_keep_their_level_and_text(headings in vec((1..=6_u8, hostile()), 1..5)) {
        let page: String =
            headings.iter().map(|(level, text)| format!("<h{level}>{}</h{level}>", markup(text))).collect();
        let expected: Vec<(u8, String)> = headings
            .iter()
            .map(|(level, text)| (*level, folded(text)))
            .filter(|(_, text)| !text.is_empty())
            .collect();
        let found: Vec<(u8, String)> =
            seen(&page).headings.iter().map(|(level, text)| (*level, folded(text))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn code_blocks_are_kept_byte_for_byte(code in "[ -~\n\té한🙂`]{0,60}", language in "[a-z]{0,4}", place in 0..4_usize) {
        let safe = code.replace("]]>", "]]]]><![CDATA[>");
        let block = format!(
            "<ac:structured-macro ac:name=\"code\"><ac:parameter ac:name=\"language\">{language}</ac:parameter>\
             <ac:plain-text-body><![CDATA[{safe}]]></ac:plain-text-body></ac:structured-macro>"
        );
        let page = match place {
            0 => block,
            1 => format!("<ul><li><p>a</p>{block}</li></ul>"),
            2 => format!("<blockquote>{block}</blockquote>"),
            _ => format!("<ol start=\"12\"><li>{block}<blockquote>{block}</blockquote></li></ol>"),
        };
        let found = seen(&page).code;
        if code.trim().is_empty() {
            prop_assert!(found.is_empty());
        } else {
            prop_assert!(!found.is_empty());
            for (found_language, found_code) in found {
                // The line end behind the last line is the fence's.
                prop_assert_eq!(found_code.strip_suffix('\n').unwrap(), code.strip_suffix('\n').unwrap_or(&code));
                prop_assert_eq!(found_language, language.clone());
            }
        }
    }

    #[test]
    fn code_spans_are_kept(code in "[ -~é한🙂`|\\\\]{1,20}", in_cell in any::<bool>()) {
        prop_assume!(!code.trim().is_empty());
        let span = format!("<code>{}</code>", markup(&code));
        let page = if in_cell {
            format!("<table><tr><th>{span}</th><th>b</th></tr><tr><td>{span}</td><td>c</td></tr></table>")
        } else {
            format!("<p>{span}</p>")
        };
        let markdown = converted(&page).text;
        let seen = read(&markdown);
        let expected = code.trim();
        if in_cell {
            prop_assert_eq!(&seen.tables[0][0][0], expected, "{}", markdown);
            prop_assert_eq!(&seen.tables[0][1][0], expected, "{}", markdown);
            prop_assert_eq!(&seen.tables[0][1][1], "c", "{}", markdown);
        } else {
            prop_assert_eq!(seen.text.trim(), expected, "{}", markdown);
        }
    }

    #[test]
    fn tables_keep_their_grid(rows in (1..4_usize, 1..4_usize).prop_flat_map(|(width, height)| {
        vec(vec(hostile(), width), height)
    }), header in any::<bool>()) {
        let row = |row: &Vec<String>, cell: &str| -> String {
            row.iter().map(|text| format!("<{cell}><p>{}</p></{cell}>", markup(text))).collect()
        };
        let page: String = rows
            .iter()
            .enumerate()
            .map(|(at, cells)| format!("<tr>{}</tr>", row(cells, if header && at == 0 { "th" } else { "td" })))
            .collect();
        let markdown = converted(&format!("<table><tbody>{page}</tbody></table>")).text;
        let seen = read(&markdown);
        let mut expected: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|text| folded(text)).collect()).collect();
        if !header {
            expected.insert(0, vec![String::new(); rows[0].len()]);
        }
        prop_assert_eq!(seen.tables.len(), 1, "{}", markdown);
        let found: Vec<Vec<String>> =
            seen.tables[0].iter().map(|row| row.iter().map(|text| folded(text)).collect()).collect();
        prop_assert_eq!(found, expected, "{}", markdown);
    }

    #[test]
    fn links_keep_their_text_and_target(
        text in hostile(),
        path in "[ -~é한]{0,20}",
        in_cell in any::<bool>()
    ) {
        prop_assume!(!folded(&text).is_empty());
        let target = format!("https://example.com/{}", path.trim());
        let link = format!("before <a href=\"{}\">{}</a>", markup(&target), markup(&text));
        let page = if in_cell { format!("<table><tr><th>{link}</th></tr></table>") } else { format!("<p>{link}</p>") };
        let markdown = converted(&page).text;
        let seen = read(&markdown);
        prop_assert_eq!(seen.links.len(), 1, "{}", markdown);
        prop_assert_eq!(folded(&seen.links[0].0), folded(&text), "{}", markdown);
        let expected = target
            .replace(' ', "%20").replace('<', "%3C").replace('>', "%3E").replace('`', "%60");
        let expected = if in_cell { expected.replace('|', "%7C") } else { expected };
        prop_assert_eq!(&seen.links[0].1, &expected, "{}", markdown);
    }

    #[test]
    fn nested_lists_keep_their_depth(depths in vec(1..6_usize, 1..12), ordered in any::<bool>()) {
        let list = if ordered { "ol" } else { "ul" };
        let (mut page, mut open) = (String::new(), 0);
        let mut expected = Vec::new();
        for depth in depths {
            // One level deeper at most, as every editor writes it.
            let depth = depth.min(open + 1);
            while open > depth {
                page += &format!("</li></{list}>");
                open -= 1;
            }
            page += &if depth > open { format!("<{list}>") } else { "</li>".to_owned() };
            open = depth;
            page += "<li><p>item</p>";
            expected.push((depth, None));
        }
        (0..open).for_each(|_| page += &format!("</li></{list}>"));
        let markdown = converted(&page).text;
        prop_assert_eq!(read(&markdown).items, expected, "{}", markdown);
    }

    #[test]
    fn markup_soup_never_panics_and_stays_in_proportion(
        tokens in vec(select(SOUP), 0..60),
        title in hostile()
    ) {
        let storage = tokens.concat();
        let page = Page { id: "1", title: &title, space_key: "K", base_url: "https://e.org", storage: &storage };
        let markdown = convert(&page);
        prop_assert!(markdown.text.len() <= 4096 * 4 + 40 * (storage.len() + title.len()), "{}", markdown.text.len());
        prop_assert!(markdown.text.is_empty() || markdown.text.ends_with('\n'));
        prop_assert_eq!(convert(&page), markdown);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        converted(&String::from_utf8_lossy(&bytes));
    }
}

/// Found by fuzzing: readers that descend from cmark know no code span with more than 80 backticks around it.
#[test]
fn code_with_a_hundred_backticks_in_a_row_is_code() {
    let code = format!("a <b>{}</b>", "`".repeat(100));
    for page in [
        format!("<p><code>{}</code></p>", markup(&code)),
        format!("<table><tr><td><code>{}</code></td></tr></table>", markup(&code)),
    ] {
        let seen = seen(&page);
        assert_eq!(seen.text.trim(), code);
        assert!(seen.html.is_empty(), "{:?}", seen.html);
    }
}

/// Found by fuzzing: the bracket that stood between the two goes when the link turns out to have no target.
#[test]
fn a_link_without_a_target_makes_no_markup_of_the_text_around_its_beginning() {
    for (page, text) in [
        ("<p><<ac:link>h></p>", "<h>"),
        ("<p><<b>h></b>x</p>", "<h>x"),
        ("<p>&<ac:link>amp;</ac:link></p>", "&amp;"),
        ("<p>[a]<ac:link>(b)</ac:link></p>", "[a](b)"),
    ] {
        let seen = seen(page);
        assert!(seen.html.is_empty() && seen.links.is_empty(), "{page}: {seen:?}");
        assert_eq!(seen.text.trim(), text, "{page}");
    }
}

/// What markup is made of, whole and in parts.
const SOUP: &[&str] = &[
    "<",
    ">",
    "/",
    "</",
    "/>",
    "<!",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?",
    "?>",
    "&",
    ";",
    "&amp;",
    "&#",
    "\"",
    "'",
    "=",
    " ",
    "\n",
    "text",
    "*",
    "|",
    "`",
    "<p>",
    "</p>",
    "<P",
    "<ul>",
    "<ol start=\"99999999999\">",
    "<li>",
    "</li>",
    "</ul>",
    "<table>",
    "<tr>",
    "<td colspan=\"3\" rowspan=\"0\">",
    "<th>",
    "</table>",
    "</td>",
    "</tr>",
    "<ac:structured-macro ac:name=\"info\">",
    "<ac:structured-macro ac:name=\"code\">",
    "<ac:structured-macro ac:name=\"excerpt\">",
    "</ac:structured-macro>",
    "<ac:parameter ac:name=\"title\">",
    "<ac:parameter ac:name=\"hidden\">true",
    "</ac:parameter>",
    "<ac:rich-text-body>",
    "</ac:rich-text-body>",
    "<ac:plain-text-body>",
    "</ac:plain-text-body>",
    "<ac:link>",
    "</ac:link>",
    "<ri:page ri:content-title=\"T\"/>",
    "<ri:user/>",
    "<ri:attachment ri:filename=\"f\">",
    "<ac:image>",
    "</ac:image>",
    "<ac:caption>",
    "<ac:task-list>",
    "<ac:task>",
    "<ac:task-status>complete",
    "<ac:task-body>",
    "<ac:adf-extension>",
    "<ac:adf-node type=\"panel\">",
    "<ac:adf-node type=\"decision-item\">",
    "<ac:adf-attribute>note",
    "<ac:adf-content>",
    "<ac:adf-fallback>",
    "<time datetime=\"2026\">",
    "<a href=\"x\">",
    "</a>",
    "<b>",
    "</b>",
    "<i>",
    "</i>",
    "<code>",
    "</code>",
    "<pre>",
    "</pre>",
    "<h2>",
    "</h2>",
    "<blockquote>",
    "</blockquote>",
    "<br>",
    "<hr>",
    "<script>",
    "</script>",
];

/// Converts and answers how long the document is; a page that takes quadratic time takes minutes here.
fn bounded(storage: &str, factor: usize) -> String {
    let start = Instant::now();
    let markdown = converted(storage);
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?} for {} bytes", storage.len());
    let bound = factor * storage.len() + (64 << 10);
    assert!(markdown.text.len() <= bound, "{} bytes of {}", markdown.text.len(), storage.len());
    markdown.text
}

#[test]
fn a_hundred_thousand_nested_elements_take_linear_time() {
    const DEPTH: usize = 100_000;
    for tag in [
        "p",
        "b",
        "span",
        "div",
        "ul",
        "ol",
        "li",
        "blockquote",
        "a href=\"x\"",
        "code",
        "pre",
        "table",
        "td",
        "tr",
        "ac:link",
        "ac:image",
        "ac:layout",
        "ac:task-list",
        "ac:task",
        "ac:task-body",
        "ac:adf-extension",
        "ac:adf-node type=\"panel\"",
        "ac:adf-content",
        "ac:adf-fallback",
        "ac:rich-text-body",
        "ac:parameter",
        "ac:structured-macro ac:name=\"info\"",
        "ac:placeholder",
        "h1",
        "ac:caption",
        "script",
    ] {
        let name = tag.split(' ').next().unwrap();
        for storage in [
            format!("{}x{}", format!("<{tag}>").repeat(DEPTH), format!("</{name}>").repeat(DEPTH)),
            format!("<{tag}>").repeat(DEPTH),
            format!("<{tag}>x").repeat(DEPTH),
            format!("<{tag}>x</{name}>").repeat(DEPTH),
            format!("<{tag}/>").repeat(DEPTH),
            format!("</{name}>").repeat(DEPTH),
        ] {
            bounded(&storage, 32);
        }
    }
    for nested in [
        "<ul><li>",
        "<ol start=\"999999999\"><li>",
        "<blockquote><p>",
        "<table><tr><td>",
        "<b><i><s>",
        "<ul>x",
    ] {
        bounded(&format!("{nested}x").repeat(DEPTH), 32);
    }
}

#[test]
fn a_macro_in_a_macro_ten_thousand_times_keeps_its_text() {
    for name in ["info", "panel", "expand", "excerpt", "no-such-macro"] {
        let open = format!("<ac:structured-macro ac:name=\"{name}\"><ac:rich-text-body>");
        let close = "</ac:rich-text-body></ac:structured-macro>";
        let storage = format!("{}<p>deep</p>{}<p>after</p>", open.repeat(10_000), close.repeat(10_000));
        let markdown = bounded(&storage, 2);
        assert!(markdown.contains("deep") && markdown.ends_with("\nafter\n"), "{name}");
    }
}

#[test]
fn a_million_attributes_take_linear_time() {
    let attributes: String = (0..1_000_000).map(|at| format!(" a{at}=\"{at}\"")).collect();
    for tag in ["p", "td", "a", "time", "ac:image", "ac:structured-macro", "ac:emoticon", "ri:page", "ol"] {
        let markdown = bounded(&format!("<{tag}{attributes}>text</{tag}><p>after</p>"), 1);
        assert!(markdown.contains("after"), "{tag}");
    }
    bounded(&format!("<p{}>text", " a=\"".repeat(1_000_000)), 8);
    bounded(&"<a b=\"".repeat(1_000_000), 8);
    bounded(&"<a b='\" ".repeat(500_000), 8);
}

#[test]
fn spans_beyond_all_measure_stay_bounded() {
    for span in ["1000000000", "0", "99999999999999999999999999", "-1", "x"] {
        let one = format!(
            "<table><tr><td colspan=\"{span}\" rowspan=\"{span}\">x</td></tr><tr><td>y</td></tr></table>"
        );
        assert!(bounded(&one, 1).contains('y'));
        // Many small tables share what a page may add.
        bounded(&one.repeat(10_000), 32);
        let row =
            format!("<tr>{}</tr>", format!("<td colspan=\"{span}\" rowspan=\"{span}\">x</td>").repeat(300));
        bounded(&format!("<table>{}</table>", row.repeat(300)), 64);
    }
    // A column far to the right that reaches through many rows of one cell.
    let wide = format!("<tr>{}<td rowspan=\"0\">x</td></tr>", "<td>a</td>".repeat(20_000));
    bounded(&format!("<table>{wide}{}</table>", "<tr><td>b</td></tr>".repeat(20_000)), 32);
    // A long text that is repeated in many rows.
    let long = format!("<tr><td rowspan=\"0\">{}</td></tr>", "long ".repeat(100_000));
    bounded(&format!("<table>{long}{}</table>", "<tr><td>b</td></tr>".repeat(10_000)), 8);
}

#[test]
fn a_table_of_a_million_cells_keeps_each_of_them() {
    let row = format!("<tr>{}</tr>", "<td>x</td>".repeat(1_000));
    let markdown = bounded(&format!("<table><tbody>{}</tbody></table>", row.repeat(1_000)), 1);
    assert_eq!(markdown.matches(" x |").count(), 1_000_000);
}

#[test]
fn a_page_of_fifty_megabytes_keeps_all_its_text() {
    const BLOCK: &str = "<h2>Part</h2><p>Some <strong>text</strong> &amp; a <a href=\"/x\">link</a></p><ul><li><p>item</p></li></ul>";
    let blocks = (50 << 20) / BLOCK.len();
    let markdown = bounded(&BLOCK.repeat(blocks), 1);
    assert_eq!(markdown.matches("\n- item\n").count(), blocks);
    assert_eq!(markdown.matches("Some **text** & a [link](").count(), blocks);
}

#[test]
fn long_runs_take_linear_time() {
    const COUNT: usize = 300_000;
    for piece in [
        "*",
        "_",
        "`",
        "[",
        "]",
        "&",
        "<",
        "~",
        "|",
        "\\",
        " ",
        "\n",
        "&amp;",
        "<br/>",
        "<hr/>",
        "x<br/>",
        "</p>",
        "<p/>",
        "<b>x</b>",
        "<b>x</b> ",
        "<b>.</b>x",
        "<code>`</code>",
        "<code> </code>",
        "<a href=\"y\">x</a>",
        "<!--",
        "<![CDATA[",
        "]]>",
        "<!",
        "<?",
        "<p",
        "&#",
        "<3@",
        "<.",
        "한",
        "<ac:emoticon/>",
        "<time/>",
        "<ac:link/>",
        "<b><br/></b>",
        "<b>.<br/></b>",
        "<a href=\"y\"><br/></a>",
        "</br>",
        "<col>",
    ] {
        for place in ["<p>", "<table><tr><td>", "<ul><li>", "<h1>", "<pre>", "<code>", "<b>", "<ac:link>"] {
            bounded(&format!("{place}{}", piece.repeat(COUNT)), 24);
        }
    }
}
