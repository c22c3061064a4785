//! The text formats of the metrics, and the choice of one by an Accept header.

use mediatype::{MediaType, MediaTypeList, ReadParams as _};

/// A text format of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format, which every reader understands.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics,
}

impl Format {
    /// The media type, as a response names it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format to answer with: OpenMetrics if the value of an Accept header names it and wants
    /// plain text no more.
    pub fn accepted(accept: &str) -> Self {
        let quality = |fits: fn(&MediaType<'_>) -> bool| {
            let fitting = MediaTypeList::new(accept).flatten().filter(fits);
            fitting.map(|wanted| quality_of(&wanted)).fold(0.0, f32::max)
        };
        let wanted = quality(is_openmetrics);
        if wanted > 0.0 && wanted >= quality(is_plain_text) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }
}

fn quality_of(wanted: &MediaType<'_>) -> f32 {
    let Some(quality) = parameter(wanted, "q") else { return 1.0 };
    quality.parse().ok().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0)
}

fn is_openmetrics(wanted: &MediaType<'_>) -> bool {
    wanted.ty == "application"
        && wanted.subty == "openmetrics-text"
        && parameter(wanted, "version").is_none_or(|version| version == "1.0.0")
}

fn is_plain_text(wanted: &MediaType<'_>) -> bool {
    match (wanted.ty.as_str(), wanted.subty.as_str()) {
        ("text", "plain") => parameter(wanted, "version").is_none_or(|version| version == "0.0.4"),
        ("text" | "*", "*") => true,
        _ => false,
    }
}

fn parameter(wanted: &MediaType<'_>, name: &str) -> Option<String> {
    let (_, value) = wanted.params().find(|(key, _)| *key == name)?;
    Some(value.unquoted_str().into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        for accept in [
            // Prometheus 2.5, 2.42 and 3.0, and one that takes protocol buffers first.
            "application/openmetrics-text; version=1.0.0,application/openmetrics-text; \
             version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,\
             */*;q=0.1",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
             encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,\
             */*;q=0.1",
            "application/openmetrics-text",
            "APPLICATION/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.1",
            "text/html, */*;q=0.5, application/openmetrics-text;q=0.5",
        ] {
            assert_eq!(Format::accepted(accept), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn all_others_get_the_prometheus_format() {
        for accept in [
            "",
            "*/*",
            "text/plain;version=0.0.4",
            // Prometheus before 2.5, curl, a browser, and one that wants plain text more.
            "text/plain;version=0.0.4;q=1,*/*;q=0.1",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5",
            "application/openmetrics-text;q=0.5,*/*",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=NaN",
            "application/*",
            "application/json",
            "openmetrics",
            ",;=/",
        ] {
            assert_eq!(Format::accepted(accept), Format::Prometheus, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_answered(accept in "[ -~]{0,80}") {
            Format::accepted(&accept);
        }
    }
}
