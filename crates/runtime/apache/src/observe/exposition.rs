//! The two text formats of metrics: Prometheus' (0.0.4) and OpenMetrics' (1.0.0).

use std::fmt::Write;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// The response's type.
    pub(crate) fn content_type(self) -> &'static std::ffi::CStr {
        match self {
            Self::Prometheus => c"text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => c"application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What kind of numbers a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rises, until the server is started anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in classes, their number and sum.
    Histogram,
    /// Always 1: what matters are the labels.
    Info,
}

/// A label and its value.
pub(crate) type Label<'l> = (&'static str, &'l str);

/// A text that grows family by family.
pub(crate) struct Exposition {
    out: String,
    format: Format,
}

/// Writing into a string cannot fail.
macro_rules! put {
    ($self:ident, $($text:tt)*) => {{ let _ = write!($self.out, $($text)*); }};
}

impl Exposition {
    /// An empty one.
    pub(crate) fn new(format: Format) -> Self {
        Self { out: String::with_capacity(8 * 1024), format }
    }

    /// Begins a family; its samples follow. `name` is without the suffixes that kinds add.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let open = self.format == Format::OpenMetrics;
        // The older format counts a suffix as part of the family's name, and knows no infos.
        let (suffix, kind) = match kind {
            Kind::Counter if open => ("", "counter"),
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
            Kind::Histogram => ("", "histogram"),
            Kind::Info if open => ("", "info"),
            Kind::Info => ("_info", "gauge"),
        };
        put!(self, "# HELP {name}{suffix} {}\n# TYPE {name}{suffix} {kind}\n", escaped(help, false));
    }

    /// A sample; `name` is with its suffix.
    pub(crate) fn sample(&mut self, name: &str, labels: &[Label<'_>], value: f64) {
        self.series(name, labels);
        put!(self, " {value}\n");
    }

    /// A sample that is a whole number, however large.
    pub(crate) fn count(&mut self, name: &str, labels: &[Label<'_>], value: u64) {
        self.series(name, labels);
        put!(self, " {value}\n");
    }

    fn series(&mut self, name: &str, labels: &[Label<'_>]) {
        self.out.push_str(name);
        for (number, (label, value)) in labels.iter().enumerate() {
            let open = if number == 0 { '{' } else { ',' };
            put!(self, "{open}{label}=\"{}\"", escaped(value, true));
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

/// The formats' escapes. Other control characters are legal there, but nobody wants them on a terminal.
fn escaped(text: &str, quoted: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quoted => out.push_str("\\\""),
            character if character.is_control() => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(format: Format) -> String {
        let mut exposition = Exposition::new(format);
        exposition.family("a_requests", Kind::Counter, "Requests\\ served.");
        exposition.count("a_requests_total", &[("group", "w\"e\\b\n\x1b"), ("process", "0")], u64::MAX);
        exposition.family("a_build", Kind::Info, "Version.");
        exposition.sample("a_build_info", &[], 1.0);
        exposition.family("a_seconds", Kind::Gauge, "Time.");
        exposition.sample("a_seconds", &[], 0.25);
        exposition.finish()
    }

    #[test]
    fn the_older_format_counts_suffixes_as_names() {
        assert_eq!(
            text(Format::Prometheus),
            "# HELP a_requests_total Requests\\\\ served.\n# TYPE a_requests_total counter\n\
             a_requests_total{group=\"w\\\"e\\\\b\\n\u{fffd}\",process=\"0\"} 18446744073709551615\n\
             # HELP a_build_info Version.\n# TYPE a_build_info gauge\na_build_info 1\n\
             # HELP a_seconds Time.\n# TYPE a_seconds gauge\na_seconds 0.25\n"
        );
    }

    #[test]
    fn the_newer_format_ends_with_its_mark() {
        let text = text(Format::OpenMetrics);
        assert!(text.contains("# TYPE a_requests counter\n"), "{text}");
        assert!(text.contains("# TYPE a_build info\na_build_info 1\n"), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }
}
