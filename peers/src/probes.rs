//! Texts that a reader of the page sees, each where converters are known to lose it.

/// What is probed, the storage format around it, and the text that the output must show.
pub(crate) struct Probe {
    name: &'static str,
    storage: &'static str,
    shown: &'static str,
}

macro_rules! probes {
    ($($name:literal, $storage:literal => $shown:literal;)*) => {
        pub(crate) const PROBES: &[Probe] =
            &[$(Probe { name: $name, storage: $storage, shown: $shown }),*];
    };
}

probes! {
    "paragraph", "<p>ordinary marmalade</p>" => "ordinary marmalade";
    "heading", "<h2>heading marmalade</h2>" => "heading marmalade";
    "bold", "<p><strong>bold marmalade</strong></p>" => "bold marmalade";
    "italic inside of bold", "<p><strong>very <em>deep marmalade</em></strong></p>" => "deep marmalade";
    "underline", "<p><u>underlined marmalade</u></p>" => "underlined marmalade";
    "strikethrough", "<p><del>struck marmalade</del></p>" => "struck marmalade";
    "superscript", "<p>x<sup>17</sup></p>" => "17";
    "coloured text", r#"<p><span style="color: rgb(255,86,48);">coloured marmalade</span></p>"# => "coloured marmalade";
    "comment marker", r#"<p><ac:inline-comment-marker ac:ref="9f1c">marked marmalade</ac:inline-comment-marker></p>"# => "marked marmalade";
    "inline code", "<p><code>codeMarmalade()</code></p>" => "codeMarmalade()";
    "list item", "<ul><li><p>listed marmalade</p></li></ul>" => "listed marmalade";
    "nested list item", "<ul><li><p>a</p><ul><li><p>nested marmalade</p></li></ul></li></ul>" => "nested marmalade";
    "numbered list item", r#"<ol start="3"><li><p>numbered marmalade</p></li></ol>"# => "numbered marmalade";
    "number that a list starts from", r#"<ol start="37"><li><p>a</p></li></ol>"# => "37";
    "quote", "<blockquote><p>quoted marmalade</p></blockquote>" => "quoted marmalade";
    "preformatted text", "<pre>pre marmalade</pre>" => "pre marmalade";
    "table heading", "<table><tbody><tr><th><p>head marmalade</p></th></tr><tr><td>a</td></tr></tbody></table>" => "head marmalade";
    "table cell", "<table><tbody><tr><th>a</th></tr><tr><td><p>cell marmalade</p></td></tr></tbody></table>" => "cell marmalade";
    "list in a cell", "<table><tbody><tr><th>a</th></tr><tr><td><ul><li><p>cell item marmalade</p></li></ul></td></tr></tbody></table>" => "cell item marmalade";
    "second paragraph of a cell", "<table><tbody><tr><th>a</th></tr><tr><td><p>b</p><p>second marmalade</p></td></tr></tbody></table>" => "second marmalade";
    "table in a table", "<table><tbody><tr><th>a</th></tr><tr><td><table><tbody><tr><td>inner marmalade</td></tr></tbody></table></td></tr></tbody></table>" => "inner marmalade";
    "cell behind a merged one", r#"<table><tbody><tr><th colspan="2">a</th></tr><tr><td rowspan="2">b</td><td>c</td></tr><tr><td>beside marmalade</td></tr></tbody></table>"# => "beside marmalade";
    "pipe in a cell", "<table><tbody><tr><th>a</th></tr><tr><td><p>left | right marmalade</p></td></tr></tbody></table>" => "left | right marmalade";
    "code macro", r#"<ac:structured-macro ac:name="code"><ac:plain-text-body><![CDATA[let marmalade = 1;]]></ac:plain-text-body></ac:structured-macro>"# => "let marmalade = 1;";
    "mark-up in a code macro", r#"<ac:structured-macro ac:name="code"><ac:plain-text-body><![CDATA[List<Marmalade> a = b && c;]]></ac:plain-text-body></ac:structured-macro>"# => "List<Marmalade> a = b && c;";
    "code in two sections of CDATA", r#"<ac:structured-macro ac:name="code"><ac:plain-text-body><![CDATA[a[b[0]]]]><![CDATA[> split marmalade]]></ac:plain-text-body></ac:structured-macro>"# => "a[b[0]]> split marmalade";
    "second line of code", "<ac:structured-macro ac:name=\"code\"><ac:plain-text-body><![CDATA[one\n    two marmalade]]></ac:plain-text-body></ac:structured-macro>" => "one\n    two marmalade";
    "title of a code macro", r#"<ac:structured-macro ac:name="code"><ac:parameter ac:name="title">Titled marmalade</ac:parameter><ac:plain-text-body><![CDATA[x]]></ac:plain-text-body></ac:structured-macro>"# => "Titled marmalade";
    "language of a code macro", r#"<ac:structured-macro ac:name="code"><ac:parameter ac:name="language">sql</ac:parameter><ac:plain-text-body><![CDATA[x]]></ac:plain-text-body></ac:structured-macro>"# => "```sql";
    "noformat macro", r#"<ac:structured-macro ac:name="noformat"><ac:plain-text-body><![CDATA[plain <marmalade>]]></ac:plain-text-body></ac:structured-macro>"# => "plain <marmalade>";
    "info macro", r#"<ac:structured-macro ac:name="info"><ac:rich-text-body><p>info marmalade</p></ac:rich-text-body></ac:structured-macro>"# => "info marmalade";
    "title of a panel", r#"<ac:structured-macro ac:name="panel"><ac:parameter ac:name="title">panel marmalade</ac:parameter><ac:rich-text-body><p>a</p></ac:rich-text-body></ac:structured-macro>"# => "panel marmalade";
    "title of an expand", r#"<ac:structured-macro ac:name="expand"><ac:parameter ac:name="title">expand marmalade</ac:parameter><ac:rich-text-body><p>a</p></ac:rich-text-body></ac:structured-macro>"# => "expand marmalade";
    "body of an expand", r#"<ac:structured-macro ac:name="expand"><ac:rich-text-body><p>hidden marmalade</p></ac:rich-text-body></ac:structured-macro>"# => "hidden marmalade";
    "excerpt", r#"<ac:structured-macro ac:name="excerpt"><ac:rich-text-body><p>excerpt marmalade</p></ac:rich-text-body></ac:structured-macro>"# => "excerpt marmalade";
    "macro of an app", r#"<ac:structured-macro ac:name="acme-approval"><ac:rich-text-body><p>app marmalade</p></ac:rich-text-body></ac:structured-macro>"# => "app marmalade";
    "status", r#"<p><ac:structured-macro ac:name="status"><ac:parameter ac:name="title">MARMALADE</ac:parameter><ac:parameter ac:name="colour">Red</ac:parameter></ac:structured-macro></p>"# => "MARMALADE";
    "key of a Jira issue", r#"<p><ac:structured-macro ac:name="jira"><ac:parameter ac:name="key">MARM-17</ac:parameter></ac:structured-macro></p>"# => "MARM-17";
    "task", "<ac:task-list><ac:task><ac:task-id>1</ac:task-id><ac:task-status>incomplete</ac:task-status><ac:task-body>task marmalade</ac:task-body></ac:task></ac:task-list>" => "task marmalade";
    "task that is done", "<ac:task-list><ac:task><ac:task-id>1</ac:task-id><ac:task-status>complete</ac:task-status><ac:task-body>done marmalade</ac:task-body></ac:task></ac:task-list>" => "[x] done marmalade";
    "layout", r#"<ac:layout><ac:layout-section ac:type="single"><ac:layout-cell><p>layout marmalade</p></ac:layout-cell></ac:layout-section></ac:layout>"# => "layout marmalade";
    "panel of the new editor", r#"<ac:adf-extension><ac:adf-node type="panel"><ac:adf-attribute key="panel-type">note</ac:adf-attribute><ac:adf-content><p>adf marmalade</p></ac:adf-content></ac:adf-node></ac:adf-extension>"# => "adf marmalade";
    "link", r#"<p><a href="https://acme.example/x">linked marmalade</a></p>"# => "linked marmalade";
    "address of a link", r#"<p><a href="https://acme.example/marmalade">a</a></p>"# => "https://acme.example/marmalade";
    "body of a page link", r#"<p><ac:link><ri:page ri:content-title="T" /><ac:link-body>body marmalade</ac:link-body></ac:link></p>"# => "body marmalade";
    "plain body of a page link", r#"<p><ac:link><ri:page ri:content-title="T" /><ac:plain-text-link-body><![CDATA[plain body marmalade]]></ac:plain-text-link-body></ac:link></p>"# => "plain body marmalade";
    "title of a linked page", r#"<p><ac:link><ri:page ri:content-title="Title marmalade" /></ac:link></p>"# => "Title marmalade";
    "name of a linked file", r#"<p><ac:link><ri:attachment ri:filename="marmalade.pdf" /></ac:link></p>"# => "marmalade.pdf";
    "caption of an image", r#"<ac:image ac:alt="a"><ri:attachment ri:filename="a.png" /><ac:caption><p>caption marmalade</p></ac:caption></ac:image>"# => "caption marmalade";
    "description of an image", r#"<p><ac:image ac:alt="alt marmalade"><ri:attachment ri:filename="a.png" /></ac:image></p>"# => "alt marmalade";
    "date", r#"<p><time datetime="2026-03-14" /></p>"# => "2026-03-14";
    "emoji", r#"<p><ac:emoticon ac:name="blue-star" ac:emoji-shortname=":rocket:" ac:emoji-id="1f680" ac:emoji-fallback="&#128640;" /></p>"# => "\u{1f680}";
    "named entities", "<p>&ldquo;marmalade&rdquo; &rarr; R&amp;D</p>" => "\u{201c}marmalade\u{201d} \u{2192} R&D";
    "numbered entity", "<p>&#8364;40</p>" => "\u{20ac}40";
    "text like a tag", "<p>use &lt;marmalade&gt; here</p>" => "use <marmalade> here";
    "text behind an empty element", r#"<p local-id="1" /><p>behind marmalade</p>"# => "behind marmalade";
    "formula", r#"<ac:structured-macro ac:name="mathblock"><ac:parameter ac:name="body">E = marmalade^2</ac:parameter></ac:structured-macro>"# => "E = marmalade^2";
}

/// The names of the probes that a converter loses.
pub(crate) fn missing(converter: fn(&str) -> String) -> Vec<&'static str> {
    let lost = |probe: &&Probe| {
        // Between two others, as on a page.
        let page = format!("<p>First.</p>{}<p>Last.</p>", probe.storage);
        !plain(&converter(&page)).contains(probe.shown)
    };
    PROBES.iter().filter(lost).map(|probe| probe.name).collect()
}

/// Markdown without its escapes and without letters of no width, which are no text: every converter has its own idea of
/// how much to escape and what to keep.
pub(crate) fn plain(markdown: &str) -> String {
    let mut plain = String::with_capacity(markdown.len());
    let mut letters = markdown.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\\' && letters.peek().is_some_and(char::is_ascii_punctuation) {
            continue;
        }
        if letter == '\u{200b}' {
            continue;
        }
        plain.push(letter);
    }
    for (entity, character) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&nbsp;", "\u{a0}"), ("&amp;", "&")]
    {
        plain = plain.replace(entity, character);
    }
    plain
}
