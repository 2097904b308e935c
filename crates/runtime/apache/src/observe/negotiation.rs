//! Which of the two formats a client wants.

use super::exposition::Format;

/// The most media ranges of an `Accept` field that are looked at.
const RANGES: usize = 64;

/// The format for an `Accept` field. OpenMetrics only for clients that name it, as the other one is what everybody
/// reads, people with a browser or curl among them.
pub(crate) fn choose(accept: Option<&str>) -> Format {
    let Some(accept) = accept else { return Format::Prometheus };
    let (mut open, mut plain) = (0u16, 0u16);
    for range in accept.split(',').take(RANGES) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(1000, |(_, value)| weight(value.trim()));
        match kind.as_str() {
            "application/openmetrics-text" => open = open.max(weight),
            "text/plain" | "text/*" => plain = plain.max(weight),
            _ => {}
        }
    }
    if open > 0 && open >= plain { Format::OpenMetrics } else { Format::Prometheus }
}

/// A weight in thousandths; what is none counts as 0.
fn weight(text: &str) -> u16 {
    let Ok(value) = text.parse::<f32>() else { return 0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000; NaN becomes 0")]
    let thousandths = (value * 1000.0).clamp(0.0, 1000.0) as u16;
    thousandths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_and_heavier_one_wins() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (accept, expected) in [
            (None, Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (Some("text/html, */*;q=0.8"), Format::Prometheus),
            (Some(prometheus), Format::OpenMetrics),
            (Some("Application/OpenMetrics-Text"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0, text/plain"), Format::Prometheus),
            (Some("application/openmetrics-text;q=0.2, text/plain;q=0.5"), Format::Prometheus),
            (Some("application/openmetrics-text;q=nonsense"), Format::Prometheus),
            (Some(""), Format::Prometheus),
        ] {
            assert_eq!(choose(accept), expected, "{accept:?}");
        }
    }
}
