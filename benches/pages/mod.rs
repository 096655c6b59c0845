//! The pages that benchmarks convert: equal on every run, about as large as they say.

use std::fmt::Write;

use confluence_site::Site;

/// Pages of one kind.
pub(crate) struct Pages {
    /// What they are.
    pub(crate) name: &'static str,
    /// Their bodies in storage format.
    pub(crate) storage: Vec<String>,
}

/// All kinds.
pub(crate) fn all() -> Vec<Pages> {
    let typical = generated(1000, 15_000);
    let site = Site::builder().pages(500).content();
    let titles: Vec<String> =
        site.visible_pages().into_iter().map(|page| page.title.replace('&', "&amp;")).collect();
    let (tables, code) = (tables(&titles, 200_000), code(&titles, 200_000));
    vec![
        Pages { name: "typical", storage: typical },
        Pages { name: "large", storage: generated(1, 200_000) },
        Pages { name: "huge", storage: generated(1, 5_000_000) },
        Pages { name: "tables", storage: vec![tables] },
        Pages { name: "code", storage: vec![code] },
    ]
}

fn generated(pages: usize, bytes: usize) -> Vec<String> {
    // A few pages of a site are archived or hidden.
    let site = Site::builder().pages(pages + pages / 4 + 4).page_bytes(bytes).content();
    site.visible_pages().into_iter().map(|page| page.storage).take(pages).collect()
}

/// Tables of twenty rows as the editor writes them, with nothing else in between.
fn tables(texts: &[String], bytes: usize) -> String {
    let mut page = String::with_capacity(bytes + 16_384);
    let mut texts = texts.iter().cycle();
    let mut next = || texts.next().map_or("", String::as_str);
    while page.len() < bytes {
        page.push_str(r#"<table data-table-width="760" data-layout="default" ac:local-id="0b7e7e0e-6a6f-4b8e-9d57-2f1c9c3f4a10"><tbody><tr>"#);
        for heading in ["Service", "Owner", "State", "p99"] {
            let _ = write!(page, "<th><p><strong>{heading}</strong></p></th>");
        }
        page.push_str("</tr>");
        for row in 0..20 {
            let _ = write!(
                page,
                "<tr><td><p>{}</p></td><td><p>{} &amp; {}</p></td><td><p><code>v{row}.2</code></p></td><td><p>{row} | &lt; 250 ms</p></td></tr>",
                next(),
                next(),
                next()
            );
        }
        page.push_str("</tbody></table>");
    }
    page
}

/// Blocks of forty lines of code, each behind a line of text.
fn code(texts: &[String], bytes: usize) -> String {
    let mut page = String::with_capacity(bytes + 16_384);
    let mut texts = texts.iter().cycle();
    let mut next = || texts.next().map_or("", String::as_str);
    while page.len() < bytes {
        let _ = write!(page, "<p>{}</p>", next());
        page.push_str(r#"<ac:structured-macro ac:name="code" ac:schema-version="1" ac:macro-id="a7d0c7d2-3f0a-4f4b-9a51-0d6b8c1f2a11"><ac:parameter ac:name="language">java</ac:parameter><ac:plain-text-body><![CDATA["#);
        for line in 0..10 {
            let _ = write!(
                page,
                "    /** {} */\n    public Result<List<String>> load{line}(final int limit) {{\n        return limit < {line} && cache[limit] != null ? cache[limit] : fetch(\"`a`\", limit);\n    }}\n",
                next()
            );
        }
        page.push_str("]]></ac:plain-text-body></ac:structured-macro>");
    }
    page
}
