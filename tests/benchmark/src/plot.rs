//! Small plots side by side as one SVG, readable on a light and on a dark page.

use std::fmt::Write as _;

/// One plot: `y` from 0, linear, over `x` above 0, logarithmic.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) series: Vec<Series>,
}

/// The points of a line, by `x`.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const COLUMNS: usize = 2;
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 40.0;
/// Room for the legend, below all plots.
const LEGEND: f64 = 30.0;
const Y_TICKS: u32 = 4;

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.grid { stroke: #d0d7de }
.line { fill: none; stroke-width: 2 }
.s0 { stroke: #0969da } .d0 { fill: #0969da }
.s1 { stroke: #bc4c00 } .d1 { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .grid { stroke: #3d444d }
  .s0 { stroke: #58a6ff } .d0 { fill: #58a6ff }
  .s1 { stroke: #f0883e } .d1 { fill: #f0883e }
}
";

/// The whole file. `x_title` names what all panels share.
pub(crate) fn svg(panels: &[Panel], x_title: &str) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * rows as f64 + LEGEND);
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">"
    );
    let _ = writeln!(out, "<style>\n{STYLE}</style>");
    for (number, panel) in panels.iter().enumerate() {
        let (x, y) = ((number % COLUMNS) as f64 * WIDTH, (number / COLUMNS) as f64 * HEIGHT);
        let _ = writeln!(out, "<g transform=\"translate({x} {y})\">");
        draw(&mut out, panel, x_title);
        let _ = writeln!(out, "</g>");
    }
    let names = panels.first().map_or(&[][..], |panel| &panel.series);
    for (number, series) in names.iter().enumerate() {
        let (x, y) = (LEFT + number as f64 * 200.0, height - LEGEND / 2.0);
        let _ = writeln!(out, "<circle class=\"d{number}\" cx=\"{x}\" cy=\"{y}\" r=\"4\"/>");
        let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text>", x + 10.0, y + 4.0, escape(&series.name));
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, panel: &Panel, x_title: &str) {
    let points = || panel.series.iter().flat_map(|series| series.points.iter().copied());
    let (mut least, mut most) = (f64::INFINITY, 1.0_f64);
    for (x, _) in points() {
        (least, most) = (least.min(x), most.max(x));
    }
    let top = round_up(points().map(|(_, y)| y).fold(0.0, f64::max));
    let across = |x: f64| {
        let share = (x / least).ln() / (most / least).ln().max(f64::MIN_POSITIVE);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    let up = |y: f64| HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM);
    let _ = writeln!(out, "<text class=\"title\" x=\"{LEFT}\" y=\"20\">{}</text>", escape(&panel.title));
    for tick in 0..=Y_TICKS {
        let value = top * f64::from(tick) / f64::from(Y_TICKS);
        let y = up(value);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            WIDTH - RIGHT
        );
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            short(value)
        );
    }
    let mut ticks: Vec<f64> = points().map(|(x, _)| x).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    for x in ticks {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            across(x),
            HEIGHT - BOTTOM + 16.0,
            short(x)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - BOTTOM + 32.0,
        escape(x_title)
    );
    for (number, series) in panel.series.iter().enumerate() {
        let mut line = String::new();
        for (x, y) in &series.points {
            let _ = write!(line, "{:.1},{:.1} ", across(*x), up(*y));
        }
        let _ = writeln!(out, "<polyline class=\"line s{number}\" points=\"{}\"/>", line.trim_end());
        for (x, y) in &series.points {
            let _ = writeln!(
                out,
                "<circle class=\"d{number}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                across(*x),
                up(*y)
            );
        }
    }
}

/// The next of 1, 2, 4, 6, 8 times a power of ten: four ticks of it are short numbers.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(10.0 * power)
}

fn short(value: f64) -> String {
    let text = if value >= 1000.0 { format!("{}k", value / 1000.0) } else { format!("{value:.3}") };
    match text.split_once('.') {
        Some((whole, rest)) if !text.ends_with('k') => {
            let rest = rest.trim_end_matches('0');
            if rest.is_empty() { whole.to_owned() } else { format!("{whole}.{rest}") }
        }
        _ => text,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
