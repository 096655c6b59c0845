//! The YAML front matter of a file: what the page is, and the sign that this program wrote it.

use crate::store::StoredDocument;

/// Of a page.
pub(super) fn page(document: &StoredDocument) -> String {
    let mut lines = vec![
        "---".to_owned(),
        format!("id: {}", quoted(&document.id)),
        format!("title: {}", quoted(&document.title)),
        format!("web_url: {}", quoted(&document.web_url)),
        format!("space_key: {}", quoted(&document.space_key)),
        format!("version_number: {}", document.version_number),
    ];
    if let Some(created_at) = &document.created_at {
        lines.push(format!("created_at: {}", quoted(created_at)));
    }
    lines.push(format!("modified_at: {}", quoted(&document.modified_at)));
    lines.push("---\n\n".to_owned());
    lines.join("\n")
}

/// Of the index of a space.
pub(super) fn index(space_key: &str) -> String {
    format!("---\nspace_key: {}\n---\n\n", quoted(space_key))
}

/// A field's text in the front matter that a file begins with.
pub(super) fn field(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines();
    if lines.next() != Some("---") {
        return None;
    }
    let value = lines
        .take_while(|line| *line != "---")
        .find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")))?;
    serde_json::from_str(value).ok()
}

/// A JSON string is a YAML string, but for control characters that only YAML wants escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for c in serde_json::Value::from(text).to_string().chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}') {
            quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            quoted.push(c);
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(title: &str) -> StoredDocument {
        StoredDocument {
            source_id: "s".into(),
            id: "42".into(),
            title: title.into(),
            mime_type: "text/markdown".into(),
            content: "# T\n".into(),
            modified_at: "2026-01-02T03:04:05.000Z".into(),
            web_url: "https://a.example/42".into(),
            space_key: "~712020ada".into(),
            version_number: 3,
            created_at: None,
            created_by_display_name: None,
        }
    }

    #[test]
    fn front_matter_holds_whatever_a_title_holds() {
        let text = page(&document("a: \"b\"\n--- # c\u{7F}\u{85}"));
        assert!(text.contains("title: \"a: \\\"b\\\"\\n--- # c\\u007f\\u0085\"\n"), "{text}");
        assert!(text.starts_with("---\nid: \"42\"\n") && text.ends_with("\n---\n\n"));
        assert!(!text.contains("created_at"));
        assert_eq!(field(&text, "title").unwrap(), "a: \"b\"\n--- # c\u{7F}\u{85}");
    }

    #[test]
    fn a_field_is_read_from_the_front_matter_alone() {
        let text = page(&document("t")) + "other: \"text\"\n";
        assert_eq!(field(&text, "id").as_deref(), Some("42"));
        assert_eq!(field(&text.replace('\n', "\r\n"), "space_key").as_deref(), Some("~712020ada"));
        assert_eq!(field(&text, "other"), None);
        assert_eq!(field(text.trim_start_matches('-'), "id"), None);
        assert_eq!(field("---\nid: 42\n---\n", "id"), None);
    }
}
