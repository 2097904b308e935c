//! Metrics and telemetry.

use crate::directives::spec::{Arity, Command, Directive, Fallback, Parse, Place, Refusal};
use crate::directives::words::{nearest, next_word};

pub(crate) const SERVER_METRICS: Directive = Directive {
    fallback: Fallback::Flag(false),
    parse: Parse::MainFlag(|main| &mut main.server_metrics),
    ..Directive::new(c"WSGIServerMetrics", Arity::Flag, Place::Main, c"Enable/Disable access to server metrics.")
};

pub(crate) const TELEMETRY_SERVICE: Directive = Directive {
    syntax: "unix:/path [interval=seconds]",
    options: &["interval"],
    parse: Parse::Words(telemetry_service),
    ..Directive::new(c"WSGITelemetryService", Arity::OneOrMore, Place::Main, c"Target of telemetry reports.")
};

pub(crate) const SLOW_REQUESTS: Directive = Directive {
    syntax: "seconds",
    fallback: Fallback::Number(0),
    parse: Parse::Words(slow_requests),
    ..Directive::new(
        c"WSGISlowRequests",
        Arity::One,
        Place::Main,
        c"Enable slow-request reporting. Arg: threshold in seconds.",
    )
};

pub(crate) const TELEMETRY_OPTIONS: Directive = Directive {
    syntax: "[+|-]flag …|None|All",
    parse: Parse::Words(telemetry_options),
    ..Directive::new(c"WSGITelemetryOptions", Arity::OneOrMore, Place::Main, c"Flags of telemetry reports.")
};

/// What `WSGITelemetryOptions` knows.
const FLAGS: &[&str] = &["CaptureUserAgent"];

/// Seconds between reports when the directive does not say it.
const INTERVAL: f64 = 1.0;

/// The shortest time between reports.
const SHORTEST: f64 = 0.5;

/// `WSGITelemetryService`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TelemetryService {
    /// The first argument as it is.
    pub(crate) target: Vec<u8>,
    /// The path in it.
    pub(crate) path: Vec<u8>,
    /// Seconds.
    pub(crate) interval: f64,
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn service(mut line: &[u8]) -> Result<TelemetryService, Refusal> {
    let target = next_word(&mut line);
    let option = next_word(&mut line);
    if target.is_empty() || !line.is_empty() {
        return Err(Refusal::new(
            "WSGITelemetryService takes 1-2 arguments, Push telemetry to a metrics service. Args: unix:/path [interval=N]",
        ));
    }
    let Some(path) = target.strip_prefix(b"unix:").filter(|path| !path.is_empty()) else {
        return Err(Refusal::new(
            "WSGITelemetryService target must be 'unix:/path' (remote 'udp:host:port' targets are no longer supported)",
        ));
    };
    let mut interval = INTERVAL;
    if !option.is_empty() {
        let Some(value) = option.strip_prefix(b"interval=") else {
            return Err(Refusal::new("WSGITelemetryService second argument must be 'interval=N'"));
        };
        interval = number(value)
            .filter(|seconds| *seconds >= SHORTEST)
            .ok_or_else(|| Refusal::new("WSGITelemetryService interval must be at least 0.5 seconds"))?;
    }
    Ok(TelemetryService { path: path.to_vec(), interval, target })
}

fn telemetry_service(command: &mut Command, line: &[u8]) -> Result<(), Refusal> {
    let service = service(line)?;
    command.registry().draft().borrow_mut().main.telemetry = Some(service);
    Ok(())
}

fn slow_requests(command: &mut Command, value: &[u8]) -> Result<(), Refusal> {
    let seconds = number(value)
        .filter(|seconds| *seconds >= 0.0)
        .ok_or_else(|| Refusal::new("WSGISlowRequests threshold must be non-negative"))?;
    command.registry().draft().borrow_mut().main.slow_requests = Some(seconds);
    Ok(())
}

/// Carries out one directive on the flag that there is.
fn options(mut line: &[u8], before: bool) -> Result<bool, Refusal> {
    let refusal = |text: &str| Err(Refusal::new(format!("WSGITelemetryOptions: {text}")));
    let (mut captures, mut relative) = (before, None);
    while !line.is_empty() {
        let word = next_word(&mut line);
        let word = String::from_utf8_lossy(&word).into_owned();
        let (sign, name) = match word.as_bytes().first() {
            Some(b'+' | b'-') => (Some(word.starts_with('+')), &word[1..]),
            _ => (None, word.as_str()),
        };
        if name.is_empty() {
            return refusal("bare '+' / '-' is not a flag");
        }
        if *relative.get_or_insert(sign.is_some()) != sign.is_some() {
            return refusal("cannot mix +/- form with absolute names in a single directive");
        }
        captures = match () {
            () if ["None", "All"].iter().any(|set| name.eq_ignore_ascii_case(set)) => {
                if sign.is_some() {
                    return refusal(&format!("'{name}' may not have a +/- prefix"));
                }
                name.eq_ignore_ascii_case("All")
            }
            () if name.eq_ignore_ascii_case(FLAGS[0]) => sign.unwrap_or(true),
            () => {
                let hint = nearest(name, FLAGS.iter().copied());
                let hint = hint.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
                return refusal(&format!("unknown flag '{name}'{hint}"));
            }
        };
    }
    if relative.is_none() { refusal("at least one flag required") } else { Ok(captures) }
}

fn telemetry_options(command: &mut Command, line: &[u8]) -> Result<(), Refusal> {
    let main = &mut command.registry().draft().borrow_mut().main;
    main.capture_user_agent = options(line, main.capture_user_agent)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: directive:WSGITelemetryService, option:WSGITelemetryService/interval
    #[test]
    fn a_service_is_a_path_and_an_interval() {
        let read = |line: &str| service(line.as_bytes()).map_err(|refusal| refusal.to_string());
        let found = read("unix:/run/t.sock").expect("valid");
        assert_eq!((found.path.as_slice(), found.interval), (&b"/run/t.sock"[..], 1.0));
        let found = read("'unix:/with blank' interval=2.5").expect("valid");
        assert_eq!((found.path.as_slice(), found.interval), (&b"/with blank"[..], 2.5));
        for (line, expected) in [
            ("", "takes 1-2 arguments, Push telemetry to a metrics service. Args: unix:/path [interval=N]"),
            ("unix:/x interval=1 more", "takes 1-2 arguments, "),
            ("udp:host:1", "target must be 'unix:/path' (remote 'udp:host:port' targets are no longer supported)"),
            ("unix:", "target must be 'unix:/path'"),
            ("unix:/x seconds=1", "second argument must be 'interval=N'"),
            ("unix:/x interval=0.4", "interval must be at least 0.5 seconds"),
            ("unix:/x interval=", "interval must be at least 0.5 seconds"),
            ("unix:/x interval=nan", "interval must be at least 0.5 seconds"),
        ] {
            let text = read(line).expect_err(line);
            assert!(text.starts_with(&format!("WSGITelemetryService {expected}")), "{line}: {text}");
        }
    }

    // Covers: directive:WSGITelemetryOptions
    #[test]
    fn flags_are_set_added_and_taken_away() {
        for (line, before, after) in [
            ("CaptureUserAgent", false, true),
            ("captureuseragent", false, true),
            ("+CaptureUserAgent", false, true),
            ("-CaptureUserAgent", true, false),
            ("All", false, true),
            ("None", true, false),
            ("None All", false, true),
            ("CaptureUserAgent None", false, false),
        ] {
            assert_eq!(options(line.as_bytes(), before), Ok(after), "{line}");
        }
        for (line, expected) in [
            ("", "at least one flag required"),
            ("+", "bare '+' / '-' is not a flag"),
            ("- CaptureUserAgent", "bare '+' / '-' is not a flag"),
            ("+CaptureUserAgent None", "cannot mix +/- form with absolute names in a single directive"),
            ("-None", "'None' may not have a +/- prefix"),
            ("+All", "'All' may not have a +/- prefix"),
            ("Foo", "unknown flag 'Foo'"),
            ("+CaptureUserAgnt", "unknown flag 'CaptureUserAgnt'; did you mean 'CaptureUserAgent'?"),
        ] {
            let text = options(line.as_bytes(), false).expect_err(line).to_string();
            assert_eq!(text, format!("WSGITelemetryOptions: {expected}"));
        }
    }
}
