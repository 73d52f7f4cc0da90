//! Figures with their spread, as a table.

use std::collections::BTreeMap;
use std::fmt::Write;

/// One measured number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) fn new(name: &str, unit: &str, value: f64) -> Self {
        Self { name: name.into(), unit: unit.into(), value }
    }

    /// The line by which a scenario hands a figure to the process that started it.
    pub(crate) fn to_line(&self) -> String {
        format!("figure\t{}\t{}\t{}", self.name, self.unit, self.value)
    }

    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix("figure\t")?.split('\t');
        let (name, unit, value) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        Some(Self::new(name, unit, value))
    }
}

/// All values of one figure, over the runs.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) unit: String,
    values: Vec<f64>,
}

impl Series {
    fn of(&self, quantile: f64) -> f64 {
        let last = self.values.len() - 1;
        self.values[(last as f64 * quantile).round() as usize]
    }

    pub(crate) fn median(&self) -> f64 {
        self.of(0.5)
    }
}

/// Brings the figures of several runs together, in the order of their first appearance.
pub(crate) fn series(figures: impl IntoIterator<Item = Figure>) -> Vec<Series> {
    let mut places = BTreeMap::new();
    let mut all: Vec<Series> = Vec::new();
    for Figure { name, unit, value } in figures {
        let place = *places.entry(name.clone()).or_insert(all.len());
        if place == all.len() {
            all.push(Series { name, unit, values: Vec::new() });
        }
        all[place].values.push(value);
    }
    for one in &mut all {
        one.values.sort_by(f64::total_cmp);
    }
    all
}

/// A Markdown table: median, least and most of each figure.
pub(crate) fn table(all: &[Series]) -> String {
    let mut text = String::from("| figure | median | min | max | unit |\n|---|--:|--:|--:|---|\n");
    for one in all {
        let [median, least, most] = [one.median(), one.of(0.0), one.of(1.0)].map(number);
        let _ = writeln!(text, "| {} | {median} | {least} | {most} | {} |", one.name, one.unit);
    }
    text
}

/// A Markdown table of medians divided by medians, for those that were measured.
pub(crate) fn ratios(all: &[Series], wanted: &[(&str, &str)]) -> String {
    let median = |name: &str| all.iter().find(|one| one.name == name).map(Series::median);
    let mut text = String::from("| ratio of medians | |\n|---|--:|\n");
    for (above, below) in wanted {
        if let (Some(dividend), Some(divisor)) = (median(above), median(below)) {
            let _ = writeln!(text, "| {above} / {below} | {:.0}% |", 100.0 * dividend / divisor);
        }
    }
    text
}

/// A Markdown table: how many times better `ours` is than each of the `others`, which is more of something per second, and
/// less of anything else.
pub(crate) fn comparison(all: &[Series], wanted: &[&str], ours: &str, others: &[&str]) -> String {
    let find = |system: &str, name: &str| all.iter().find(|one| one.name == format!("{system}: {name}"));
    let mut text =
        format!("| times better than | {} |\n|---|{}\n", others.join(" | "), "--:|".repeat(others.len()));
    for name in wanted {
        let Some(own) = find(ours, name) else { continue };
        let cell = |other: &&str| match find(other, name) {
            Some(other) if own.unit.ends_with("/s") => format!(" {:.2} |", own.median() / other.median()),
            Some(other) => format!(" {:.2} |", other.median() / own.median()),
            None => " |".to_owned(),
        };
        let _ = writeln!(text, "| {name} |{}", others.iter().map(cell).collect::<String>());
    }
    text
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place) % 3 == 0 && digit.is_ascii_digit() {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_survives_the_way_between_processes() {
        let figure = Figure::new("drain", "tasks/s", 31_234.5);
        assert_eq!(Figure::of_line(&figure.to_line()), Some(figure));
    }

    #[test]
    fn more_per_second_and_less_of_anything_else_is_better() {
        let figure = |name, unit, value| Figure::new(name, unit, value);
        let all = series([
            figure("redis: drain", "tasks/s", 300.0),
            figure("redis: memory", "MiB", 10.0),
            figure("celery: drain", "tasks/s", 10.0),
            figure("celery: memory", "MiB", 100.0),
            figure("apalis: memory", "MiB", 5.0),
        ]);
        let table = comparison(&all, &["drain", "memory"], "redis", &["celery", "apalis"]);
        assert!(table.ends_with("| drain | 30.00 | |\n| memory | 10.00 | 0.50 |\n"), "{table}");
    }

    #[test]
    fn the_table_shows_median_and_spread() {
        let runs = [3.0, 1.0, 2000.0].map(|value| Figure::new("drain", "tasks/s", value));
        assert!(table(&series(runs)).ends_with("| drain | 3.000 | 1.000 | 2,000 | tasks/s |\n"));
    }
}
