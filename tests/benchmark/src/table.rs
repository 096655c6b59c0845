//! Tables in Markdown, and medians.

/// Prints a table below its title.
pub(crate) fn print(title: &str, columns: &[&str], rows: &[Vec<String>]) {
    println!("### {title}\n");
    println!("| {} |", columns.join(" | "));
    println!("|---{}|", "|---:".repeat(columns.len().saturating_sub(1)));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
    println!();
}

/// The value in the middle; of an even number, the higher of both. 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// With as many digits as are worth reading.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
