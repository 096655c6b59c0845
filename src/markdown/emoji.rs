//! The characters of Confluence's legacy emoticons (facts E8).

/// The character of a legacy name.
pub(super) fn legacy(name: &str) -> Option<&'static str> {
    Some(match name {
        "smile" => "🙂",
        "sad" => "🙁",
        "cheeky" => "😛",
        "laugh" => "😀",
        "wink" => "😉",
        "thumbs-up" => "👍",
        "thumbs-down" => "👎",
        "information" => "ℹ️",
        "tick" => "✅",
        "cross" => "❌",
        "warning" => "⚠️",
        "plus" => "➕",
        "minus" => "➖",
        "question" => "❓",
        "light-on" => "💡",
        "light-off" => "🔅",
        "yellow-star" => "⭐",
        "red-star" | "green-star" | "blue-star" => "✴️",
        "heart" => "❤️",
        "broken-heart" => "💔",
        _ => return None,
    })
}
