//! Who may see the metrics: local clients, unless the section that sets the handler says `Require` itself.
//!
//! Apache does not tell a handler whether a `Require` was written for the location or inherited from the document root's
//! `Require all granted`. But a section's configuration vector has a place for mod_authz_core only when a directive of
//! that module stands in the section. So all sections that set a handler are looked at once, when the configuration is
//! complete, and those that say who is allowed note their very `SetHandler` in our own settings. A request is for
//! everybody whom Apache let through when the `SetHandler` that applies to it is the noted one: another one in between
//! (in another section, `<Files>`, `<If>` or `.htaccess`) is for local clients.

use std::ffi::CStr;
use std::net::IpAddr;

use crate::config::{Registry, Settings};
use crate::host::{Request, Server, module_config, module_number, sections, set_module_config};
use crate::module;

/// Fields that proxies add.
const OF_PROXIES: [&CStr; 10] = [
    c"Forwarded",
    c"X-Forwarded-For",
    c"X-Forwarded-Host",
    c"X-Forwarded-Proto",
    c"X-Forwarded-Server",
    c"X-Real-IP",
    c"X-Client-IP",
    c"True-Client-IP",
    c"X-Cluster-Client-IP",
    c"Via",
];

/// Notes the sections that set a handler and say who is allowed.
pub(crate) fn settle(main: Server<'static>, registry: &'static Registry) {
    let authorization = module_number(c"mod_authz_core.c");
    let mut next = Some(main);
    while let Some(server) = next {
        for section in sections(server) {
            let vector = section.vector();
            let says = authorization.is_some_and(|number| !module_config(vector, number).is_null());
            let Some(setting) = section.handler().filter(|_| says) else { continue };
            let own = module_config(vector, module::index()).cast::<Settings<'static>>();
            // SAFETY: only settings are stored there; the server reads its configuration with one thread, and merges
            // settings for requests only later.
            unsafe {
                match own.as_mut() {
                    Some(own) => own.admitted_handler = Some(setting),
                    None => {
                        let own = Settings { admitted_handler: Some(setting), ..Settings::default() };
                        let own = std::ptr::from_mut(registry.pool().put(own));
                        set_module_config(vector, module::index(), own.cast());
                    }
                }
            }
        }
        next = server.next();
    }
}

/// Why a request is refused; `None`: it is not.
pub(super) fn refusal(request: Request<'_>) -> Option<&'static str> {
    let admitted = Settings::of(request).admitted_handler;
    // Other modules choose handlers too (`AddHandler`).
    if admitted.is_some() && admitted == request.handler_setting() && request.set_handler() == Some(super::HANDLER) {
        return None;
    }
    let local = [request.connection().client_ip(), request.client_ip()].into_iter().all(is_loopback);
    if !local {
        return Some("it does not come from this machine");
    }
    let headers = request.headers_in();
    OF_PROXIES.iter().any(|name| headers.get(name).is_some()).then_some("it came through a proxy")
}

fn is_loopback(address: Option<&CStr>) -> bool {
    let address = address.and_then(|address| address.to_str().ok()?.parse::<IpAddr>().ok());
    address.is_some_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_local() {
        for (address, local) in [
            (c"127.0.0.1", true),
            (c"127.9.9.9", true),
            (c"::1", true),
            (c"::ffff:127.0.0.1", true),
            (c"10.0.0.1", false),
            (c"::ffff:10.0.0.1", false),
            (c"localhost", false),
            (c"", false),
        ] {
            assert_eq!(is_loopback(Some(address)), local, "{address:?}");
        }
        assert!(!is_loopback(None));
    }
}
