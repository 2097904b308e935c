//! The handler `wsgi-metrics`.

use std::ffi::CStr;

use super::exposition::Exposition;
use super::reading::Reading;
use super::{admission, families, negotiation};
use crate::config::ServerConfig;
use crate::host::{Failure, Request, Status, Verdict, log};
use crate::{codes, sys};

/// Its name.
pub(crate) const HANDLER: &CStr = c"wsgi-metrics";

/// Answers with the metrics of this server.
pub(crate) fn handle(request: Request<'_>) -> Result<Verdict, Failure> {
    if let Some(reason) = admission::refusal(request) {
        log::of_request(
            request,
            &codes::METRICS_REFUSED,
            format_args!(
                "Client denied access to the metrics: {reason}. Only local requests are answered unless a Require \
                 stands beside the SetHandler."
            ),
        );
        return Ok(Verdict::Http(Status(403)));
    }
    if !request.is_get() {
        request.allow_only_get();
        return Ok(Verdict::Http(Status(405)));
    }
    let registry = ServerConfig::of(request.server()).map(ServerConfig::registry);
    let Some((registry, generation)) = registry.and_then(|registry| Some((registry, registry.generation()?))) else {
        return Err(Failure::new(
            sys::HTTP_INTERNAL_SERVER_ERROR,
            &codes::PANIC,
            "The configuration was never settled.",
        ));
    };
    let accept = request.headers_in().get(c"Accept").and_then(|accept| accept.to_str().ok());
    let format = negotiation::choose(accept);
    let mut out = Exposition::new(format);
    families::write(&Reading::take(registry, generation), &generation.mpm, &mut out);
    let text = out.finish();
    // The texts that Apache keeps a pointer to are copied, as the module's memory may go first.
    let pool = request.pool();
    request.set_content_type(pool.text(format.content_type().to_bytes()));
    request.set_content_length(i64::try_from(text.len()).unwrap_or(0));
    let headers = request.headers_out();
    headers.set(c"Cache-Control", c"no-store");
    headers.set(c"Vary", c"Accept");
    if !request.is_head() {
        request.write(text.as_bytes());
    }
    Ok(Verdict::Done)
}
