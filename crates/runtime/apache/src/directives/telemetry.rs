//! Metrics. Known; refused by name so far.

use crate::directives::spec::{Arity, Directive, Fallback, Place};

pub(crate) const SERVER_METRICS: Directive = Directive {
    fallback: Fallback::Flag(false),
    ..Directive::new(c"WSGIServerMetrics", Arity::Flag, Place::Main, c"Enable/Disable access to server metrics.")
};

pub(crate) const TELEMETRY_SERVICE: Directive = Directive {
    syntax: "unix:/path [interval=seconds]",
    options: &["interval"],
    ..Directive::new(c"WSGITelemetryService", Arity::OneOrMore, Place::Main, c"Target of telemetry reports.")
};

pub(crate) const SLOW_REQUESTS: Directive = Directive {
    syntax: "seconds",
    fallback: Fallback::Number(0),
    ..Directive::new(c"WSGISlowRequests", Arity::One, Place::Main, c"Threshold for reporting slow requests.")
};

pub(crate) const TELEMETRY_OPTIONS: Directive = Directive {
    syntax: "[+|-]flag …|None|All",
    ..Directive::new(c"WSGITelemetryOptions", Arity::OneOrMore, Place::Main, c"Flags of telemetry reports.")
};
