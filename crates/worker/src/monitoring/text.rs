//! The text format of OpenMetrics 1.0.
//!
//! Source: <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>.

use std::fmt::{Display, Write};

/// What a scraper is told that the text is.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a family of metrics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// A family of metrics: all that have one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// Without what its kind adds, such as `_total`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What the name ends with then.
    pub(super) unit: Option<&'static str>,
    pub(super) help: &'static str,
}

/// A text that grows family by family.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// The samples of one family.
pub(super) struct Samples<'a> {
    text: &'a mut String,
    family: &'a Family,
}

impl Text {
    /// Begins a family; its samples follow.
    pub(super) fn family<'a>(&'a mut self, family: &'a Family) -> Samples<'a> {
        let Family { name, kind, unit, help } = family;
        self.write(format_args!("# TYPE {name} {}\n", kind.as_str()));
        if let Some(unit) = unit {
            self.write(format_args!("# UNIT {name} {unit}\n"));
        }
        self.write(format_args!("# HELP {name} {}\n", escaped(help)));
        Samples { text: &mut self.0, family }
    }

    /// The whole text.
    pub(super) fn end(mut self) -> String {
        self.0.push_str("# EOF\n");
        self.0
    }

    fn write(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("a String takes all that fits into memory");
    }
}

impl Samples<'_> {
    /// The one value of these labels: of a gauge, a counter or an info.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let suffix = match self.family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.sample(suffix, labels, None, value);
    }

    /// A histogram: how many were in each bucket, the last of which has no bound.
    pub(super) fn add_histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[f64],
        buckets: &[u64],
        sum: f64,
    ) {
        let mut count = 0;
        let bounds = bounds.iter().map(|bound| format!("{bound:?}")).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(buckets) {
            count += bucket;
            self.sample("_bucket", labels, Some(&bound), count);
        }
        self.sample("_count", labels, None, count);
        self.sample("_sum", labels, None, sum);
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], le: Option<&str>, value: impl Display) {
        self.text.push_str(self.family.name);
        self.text.push_str(suffix);
        let labels = labels.iter().copied().chain(le.map(|le| ("le", le)));
        let mut open = '{';
        for (name, value) in labels {
            self.text.push(open);
            open = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            self.text.push_str(&escaped(value));
            self.text.push('"');
        }
        if open == ',' {
            self.text.push('}');
        }
        writeln!(self.text, " {value}").expect("a String takes all that fits into memory");
    }
}

/// A label value, or a help text, as it stands between quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::parser::parse;

    const ENDED: Family =
        Family { name: "ended", kind: Kind::Counter, unit: None, help: "A \"quote\" and \\." };
    const TOOK: Family =
        Family { name: "took_seconds", kind: Kind::Histogram, unit: Some("seconds"), help: "How long." };

    #[test]
    fn a_counter_is_written_as_the_standard_has_it() {
        let mut text = Text::default();
        text.family(&ENDED).add(&[("task", "a\"b\\c\nd"), ("state", "ü")], 3);
        let expected = "# TYPE ended counter\n# HELP ended A \\\"quote\\\" and \\\\.\n\
            ended_total{task=\"a\\\"b\\\\c\\nd\",state=\"ü\"} 3\n# EOF\n";
        let text = text.end();
        assert_eq!(text, expected);
        assert!(parse(&text)[0].samples[0].has(&[("task", "a\"b\\c\nd"), ("state", "ü")]));
    }

    #[test]
    fn a_histogram_counts_upwards_and_names_its_unit() {
        let mut text = Text::default();
        text.family(&TOOK).add_histogram(&[("task", "t")], &[0.5, 1.0], &[2, 0, 1], 7.25);
        let expected = "# TYPE took_seconds histogram\n# UNIT took_seconds seconds\n# HELP took_seconds How long.\n\
            took_seconds_bucket{task=\"t\",le=\"0.5\"} 2\n\
            took_seconds_bucket{task=\"t\",le=\"1.0\"} 2\n\
            took_seconds_bucket{task=\"t\",le=\"+Inf\"} 3\n\
            took_seconds_count{task=\"t\"} 3\n\
            took_seconds_sum{task=\"t\"} 7.25\n# EOF\n";
        let text = text.end();
        assert_eq!(text, expected);
        parse(&text);
    }

    #[test]
    fn what_scrapers_refuse_the_reader_of_the_tests_refuses() {
        for wrong in [
            "",
            "# EOF",
            "ended_total 1\n# EOF\n",
            "# TYPE ended counter\nended 1\n# EOF\n",
            "# TYPE ended counter\nended_total -1\n# EOF\n",
            "# TYPE ended counter\nended_total 1\nended_total 2\n# EOF\n",
            "# TYPE ended counter\nended_total{a=\"b} 1\n# EOF\n",
            "# TYPE ended counter\nended_total{a=\"\\t\"} 1\n# EOF\n",
            "# TYPE took histogram\n# UNIT took seconds\n# EOF\n",
            "# TYPE took histogram\ntook_bucket{le=\"+Inf\"} 1\ntook_count 2\n# EOF\n",
            "# TYPE took histogram\ntook_bucket{le=\"1\"} 1\ntook_bucket{le=\"+Inf\"} 1\ntook_count 1\n# EOF\n",
            "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\n# EOF\n",
        ] {
            assert!(std::panic::catch_unwind(|| parse(wrong)).is_err(), "{wrong:?}");
        }
    }
}
