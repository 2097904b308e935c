//! The way of a request through a configuration: which listener, host, alias, application, process and interpreter serve it, and
//! which line decides each of these. Nothing is sent; what httpd would look up is looked up.

mod access;
mod alias;
mod files;
mod host;
mod redirect;
mod request;
mod rewrite;
mod serve;

pub use request::{Request, UrlError};

use crate::configuration::{Configuration, Statement};

/// A decision on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was decided: `listener`, `host`, `alias` and so on.
    pub what: &'static str,
    /// How.
    pub value: String,
    /// The place in [`Configuration::statements`] of the directive that decided; `None` for a default.
    pub at: Option<usize>,
}

/// What the request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An application.
    Application(Application),
    /// A file that httpd serves.
    File(String),
    /// An answer of httpd itself.
    Answer {
        /// Its status.
        status: u16,
        /// Where it redirects to.
        location: Option<String>,
    },
    /// Another server.
    Proxy(String),
    /// Something that the configuration alone does not tell.
    Open(String),
}

/// An application that serves a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The script.
    pub script: String,
    /// `SCRIPT_NAME` of its environ.
    pub script_name: String,
    /// `PATH_INFO` of its environ.
    pub path_info: String,
    /// The group of daemon processes; `None`: embedded mode.
    pub group: Option<String>,
    /// The interpreter; empty: the main one.
    pub interpreter: String,
    /// The object that is called.
    pub callable: String,
}

/// The way of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The decisions, in order.
    pub steps: Vec<Step>,
    /// Where they end.
    pub outcome: Outcome,
}

/// Follows a request. `here`: whether the files that the configuration names are those of this machine.
#[must_use]
pub fn route(configuration: &Configuration<'_>, request: &Request, here: bool) -> Route {
    let mut walk = Walk { configuration, request, here, host: 0, steps: Vec::new() };
    let outcome = walk.run();
    Route { steps: walk.steps, outcome }
}

/// A request on its way.
struct Walk<'w> {
    configuration: &'w Configuration<'w>,
    request: &'w Request,
    here: bool,
    host: usize,
    steps: Vec<Step>,
}

/// What the name of a URL was translated to.
struct Translated {
    /// The path of the URL after rewriting.
    path: String,
    /// The file with what may be PATH_INFO behind it.
    file: String,
    /// The place of the application's alias; `None` when it was no alias of an application.
    mount: Option<usize>,
}

impl<'w> Walk<'w> {
    fn run(&mut self) -> Outcome {
        if let Some(ended) = self.choose_listener() {
            return ended;
        }
        self.choose_host();
        let path = match self.request.normalized(self.allows_encoded_slashes()) {
            Ok(path) => path,
            Err(status) => {
                self.step("path", "refused by httpd itself".to_owned(), None);
                return answer(status);
            }
        };
        let translated = match self.translate(&path) {
            Ok(translated) => translated,
            Err(outcome) => return outcome,
        };
        self.serve(&translated)
    }

    fn allows_encoded_slashes(&self) -> bool {
        // Virtual hosts do not inherit it.
        let own = |setting: &&Statement<'_>| setting.host == self.host && setting.sections.is_empty();
        let last = self.configuration.named("AllowEncodedSlashes").filter(own).last();
        last.is_some_and(|setting| !setting.is_set_to("Off"))
    }

    fn step(&mut self, what: &'static str, value: String, at: Option<&Statement<'_>>) {
        self.steps.push(Step { what, value, at: at.map(|statement| statement.index) });
    }

    /// Directives of a name that hold for the whole host: its own first, then those of the main server.
    fn of_host(&self, name: &str) -> Vec<&'w Statement<'w>> {
        let configuration = self.configuration;
        let all = || {
            configuration
                .indices(name)
                .iter()
                .map(|index| &configuration.statements[*index])
                .filter(|statement| statement.sections.is_empty())
        };
        let own = all().filter(|statement| statement.host == self.host);
        let main = all().filter(|statement| self.host != 0 && statement.host == 0);
        own.chain(main).collect()
    }
}

/// An answer of httpd without anything more.
fn answer(status: u16) -> Outcome {
    Outcome::Answer { status, location: None }
}

#[cfg(test)]
mod tests;
