//! Small charts of the last runs, drawn here: no script, no style but that of their classes.

use maud::{Markup, html};

use super::layout::number;
use super::runs::figure;
use crate::service::api::runs::Run;

/// Runs that are drawn.
const RUNS: usize = 40;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 64.0;

/// Room for the stroke.
const MARGIN: f64 = 3.0;

/// Documents and requests of the last runs, the newest first; nothing where there are too few to compare.
pub(super) fn of_runs(runs: &[Run]) -> Markup {
    let of = |number: &dyn Fn(&Run) -> Option<u64>| -> Vec<u64> {
        let mut numbers: Vec<u64> =
            runs.iter().filter(|run| run.state.ended()).filter_map(number).take(RUNS).collect();
        numbers.reverse();
        numbers
    };
    let documents = of(&|run| run.documents);
    let requests = of(&|run| figure(run, "/http/requests"));
    html! {
        @if documents.len() > 1 || requests.len() > 1 {
            div class="charts" {
                @if documents.len() > 1 { (chart("Documents", "after each run", &documents, &line(&documents))) }
                @if requests.len() > 1 { (chart("Requests", "of each run", &requests, &bars(&requests))) }
            }
        }
    }
}

fn chart(title: &str, of_what: &str, numbers: &[u64], drawn: &Markup) -> Markup {
    let (least, most) =
        (numbers.iter().min().copied().unwrap_or(0), numbers.iter().max().copied().unwrap_or(0));
    let last = numbers.last().copied().unwrap_or(0);
    let told = format!(
        "{title} {of_what}, the last {} runs: from {} to {}, at last {}",
        numbers.len(),
        number(least),
        number(most),
        number(last)
    );
    html! {
        figure class="panel chart" {
            figcaption { (title) " " span class="quiet" { (of_what) } strong { (number(last)) } }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(told) {
                (drawn)
            }
            p class="quiet" { "last " (numbers.len()) " runs · least " (number(least)) " · most " (number(most)) }
        }
    }
}

/// From the least to the most: what changes is small beside what there is.
fn line(numbers: &[u64]) -> Markup {
    let least = numbers.iter().min().copied().unwrap_or(0) as f64;
    let most = numbers.iter().max().copied().unwrap_or(0) as f64;
    let step = WIDTH / (numbers.len().saturating_sub(1)).max(1) as f64;
    let points: Vec<String> = numbers
        .iter()
        .enumerate()
        .map(|(position, value)| {
            let part = if most > least { (*value as f64 - least) / (most - least) } else { 0.5 };
            let y = HEIGHT - MARGIN - part * (HEIGHT - 2.0 * MARGIN);
            format!("{:.1},{y:.1}", position as f64 * step)
        })
        .collect();
    let points = points.join(" ");
    html! {
        polygon class="area" points={ "0," (HEIGHT) " " (points) " " (WIDTH) "," (HEIGHT) } {}
        polyline class="line" points=(points) vector-effect="non-scaling-stroke" {}
    }
}

/// From zero.
fn bars(numbers: &[u64]) -> Markup {
    let most = numbers.iter().max().copied().unwrap_or(0).max(1) as f64;
    let slot = WIDTH / numbers.len().max(8) as f64;
    html! {
        @for (position, value) in numbers.iter().enumerate() {
            @let height = (*value as f64 / most * (HEIGHT - MARGIN)).max(1.0);
            rect class="column" x=(format!("{:.1}", position as f64 * slot)) y=(format!("{:.1}", HEIGHT - height))
                width=(format!("{:.1}", slot * 0.7)) height=(format!("{height:.1}")) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_stays_inside() {
        for numbers in [vec![5, 5], vec![0, 0, 0], vec![1, u64::MAX], vec![600, 602, 599]] {
            let drawn = line(&numbers).into_string() + &bars(&numbers).into_string();
            assert!(!drawn.contains("NaN") && !drawn.contains("inf") && !drawn.contains("=\"-"), "{drawn}");
        }
    }
}
