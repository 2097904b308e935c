//! Asking a script.

use wsgi_protocol::abi::Bytes;
use wsgi_protocol::consult::{Advice, Consultation, Question};
use wsgi_protocol::request::{FOLD_CASE, Facts, JSON_LOG, OWN_GROUP, RELOAD};
use wsgi_protocol::script_file::ScriptFile;

use crate::config::{Registry, ServerConfig, Settings};
use crate::directives;
use crate::embedded;
use crate::host::Request;
use crate::scripts::Script;
use crate::tokens::FromRequest;

/// A question that is about to be asked.
pub(super) struct Inquiry<'r> {
    pub(super) request: Request<'r>,
    pub(super) script: Script<'r>,
    pub(super) question: Question,
    /// The user or the host.
    pub(super) subject: &'r [u8],
    /// The password or the realm.
    pub(super) detail: &'r [u8],
}

/// What came back.
pub(super) struct Answer {
    pub(super) advice: Advice,
    /// In the order in which the script gave them; `None` where it gave none.
    pub(super) texts: Vec<Option<Vec<u8>>>,
}

impl Answer {
    const UNAVAILABLE: Self = Self { advice: Advice::Unavailable, texts: Vec::new() };
}

impl<'r> Inquiry<'r> {
    /// Asks, with the variables that scripts of this kind see.
    pub(super) fn ask(&self) -> Answer {
        let entries = super::environ::collect(self.request);
        self.ask_with(Facts::new(entries))
    }

    /// Asks, with these entries and flags.
    pub(super) fn ask_with(&self, mut facts: Facts<'r>) -> Answer {
        let request = self.request;
        let Some(config) = ServerConfig::of(request.server()) else { return Answer::UNAVAILABLE };
        let registry = config.registry();
        let settings = Settings::of(request);
        facts.script = Bytes::new(self.script.path.to_bytes());
        // The engine looks at the file itself.
        facts.script_version = ScriptFile::UNKNOWN;
        let (group, own) = self.script.group(&FromRequest { request, mount_point: b"" });
        facts.application_group = Bytes::new(group);
        facts.flags = flags(registry, settings);
        facts.flags |= if own { OWN_GROUP } else { 0 } | if config.json_log() { JSON_LOG } else { 0 };
        if settings.passes_request() {
            facts.request_rec = request.raw().cast();
        }
        let consultation = Consultation {
            facts,
            resource: Bytes::new(request.filename().map_or(b"", std::ffi::CStr::to_bytes)),
            question: self.question,
            subject: Bytes::new(self.subject),
            detail: Bytes::new(self.detail),
        };
        match embedded::consult(request, registry, consultation) {
            Some((advice, texts)) => Answer { advice, texts },
            None => Answer::UNAVAILABLE,
        }
    }
}

fn flags(registry: &Registry, settings: &Settings<'_>) -> u32 {
    let reload = settings.script_reloading.unwrap_or(directives::SCRIPT_RELOADING.flag());
    let fold = registry.generation().is_some_and(crate::config::Generation::folds_case);
    (if reload { RELOAD } else { 0 }) | (if fold { FOLD_CASE } else { 0 })
}
