//! The two forms in which Prometheus reads metrics, and which of them is wanted.

use std::fmt::Write as _;

/// A form of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's own text, version 0.0.4, which everything reads.
    Text,
}

impl Form {
    /// The one that the `Accept` headers of a request prefer; the older one where they do not say.
    #[must_use]
    pub fn wanted<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let (mut open, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let mut weight = 1.0_f32;
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                if name.trim().eq_ignore_ascii_case("q") {
                    weight = value.trim().parse().unwrap_or(0.0);
                }
            }
            match kind.as_str() {
                "application/openmetrics-text" => open = open.max(weight),
                "text/plain" => text = text.max(weight),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The content type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The page in this form, from the page in OpenMetrics.
    #[must_use]
    pub(super) fn of(self, page: String) -> String {
        if self == Self::OpenMetrics {
            return page;
        }
        // In the older form a family has the name of its samples, so what counts ends in `_total`; it knows no kind `info`, no
        // units and no end.
        let mut out = String::with_capacity(page.len());
        let mut held: Option<(&str, &str)> = None;
        for line in page.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                held = Some((name, help));
            } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                if let Some((_, help)) = held.take().filter(|(of, _)| *of == name) {
                    // Writing into memory does not fail.
                    let _ = writeln!(out, "# HELP {name}{suffix} {help}");
                }
                let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
            } else if !line.starts_with('#') {
                out.push_str(line);
                out.push('\n');
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_is_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, form) in [
            (vec![prometheus], Form::OpenMetrics),
            (vec!["application/openmetrics-text"], Form::OpenMetrics),
            (vec!["text/plain", "application/openmetrics-text;q=0.9"], Form::Text),
            (vec!["Text/Plain; q=0.1, Application/OpenMetrics-Text; Q=0.2"], Form::OpenMetrics),
            (vec!["application/openmetrics-text;q=0"], Form::Text),
            (vec!["application/openmetrics-text;q=x"], Form::Text),
            (vec!["*/*"], Form::Text),
            (vec![], Form::Text),
        ] {
            assert_eq!(Form::wanted(accept.iter().copied()), form, "{accept:?}");
        }
    }

    #[test]
    fn the_older_form_names_families_as_their_samples() {
        let page = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"# TYPE\"} 1\n# HELP c Other.\n# TYPE c gauge\n# UNIT c seconds\nc 2\n\
                    # HELP build What.\n# TYPE build info\nbuild_info{v=\"1\"} 1\n# EOF\n";
        let older = "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"# TYPE\"} 1\n# HELP c Other.\n# TYPE c gauge\nc 2\n\
                     # HELP build_info What.\n# TYPE build_info gauge\nbuild_info{v=\"1\"} 1\n";
        assert_eq!(Form::Text.of(page.to_owned()), older);
        assert_eq!(Form::OpenMetrics.of(page.to_owned()), page);
    }
}
