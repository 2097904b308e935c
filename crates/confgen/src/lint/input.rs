//! What rules look at.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;

use crate::configuration::{Configuration, Mount, Statement};

/// Scripts of applications larger than this are not looked at, in bytes.
const LARGEST_SCRIPT: u64 = 256 * 1024;

/// Where the texts of scripts come from.
#[derive(Clone, Debug)]
pub enum Scripts {
    /// From the files of this machine.
    Files,
    /// From here.
    Given(BTreeMap<String, String>),
}

impl Scripts {
    fn text(&self, path: &str) -> Option<String> {
        match self {
            Self::Given(texts) => texts.get(path).cloned(),
            Self::Files => {
                let metadata = std::fs::metadata(path).ok()?;
                (metadata.is_file() && metadata.len() <= LARGEST_SCRIPT)
                    .then(|| std::fs::read(path).ok())
                    .flatten()
                    .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    fn is_folder(&self, path: &str) -> bool {
        matches!(self, Self::Files) && Path::new(path).is_dir()
    }
}

/// A configuration, and the scripts that it names.
#[derive(Debug)]
pub struct Input<'c> {
    configuration: &'c Configuration<'c>,
    scripts: &'c Scripts,
}

impl<'c> Deref for Input<'c> {
    type Target = Configuration<'c>;

    fn deref(&self) -> &Self::Target {
        self.configuration
    }
}

/// A group of daemon processes as something names it.
pub(super) struct Delegation<'s, 'c> {
    pub(super) group: String,
    pub(super) statement: &'s Statement<'c>,
    /// Whether an option names it, and not the first word.
    pub(super) by_option: bool,
}

impl<'c> Input<'c> {
    pub(super) fn new(configuration: &'c Configuration<'c>, scripts: &'c Scripts) -> Self {
        Self { configuration, scripts }
    }

    /// The text of a script, when it can be read.
    pub(super) fn script(&self, path: &str) -> Option<String> {
        self.scripts.text(path)
    }

    /// Whether a path is a folder of this machine.
    pub(super) fn is_folder(&self, path: &str) -> bool {
        path.ends_with('/') || self.scripts.is_folder(path)
    }

    /// Whether the script of an application is Django's.
    pub(super) fn is_django(&self, mount: &Mount) -> bool {
        self.script(&mount.script)
            .is_some_and(|text| text.contains("DJANGO_SETTINGS_MODULE") || text.contains("get_wsgi_application"))
    }

    /// The directive of an application.
    pub(super) fn of_mount(&self, mount: &Mount) -> &Statement<'c> {
        &self.configuration.statements[mount.statement]
    }

    /// Everything that names a group of daemon processes by a name that can be known.
    pub(super) fn delegations(&self) -> Vec<Delegation<'_, 'c>> {
        let words = self.named("WSGIProcessGroup").filter_map(|statement| {
            Some(Delegation { group: statement.word(0)?.into_owned(), statement, by_option: false })
        });
        let aliases = self.configuration.mounts.iter().filter_map(|mount| {
            let group = mount.option("process-group")?.to_owned();
            Some(Delegation { group, statement: self.of_mount(mount), by_option: true })
        });
        let imports = ["WSGIImportScript", "WSGITelemetryService"]
            .into_iter()
            .flat_map(|name| self.named(name))
            .filter_map(|statement| {
                let group = statement.option("process-group")?;
                Some(Delegation { group, statement, by_option: true })
            });
        let mut all: Vec<_> = words.chain(aliases).chain(imports).collect();
        all.retain(|delegation| {
            !delegation.group.contains("%{") && !delegation.group.contains("${") && !delegation.group.is_empty()
        });
        all.sort_by_key(|delegation| delegation.statement.index);
        all
    }

    /// Whether a group of daemon processes may be named by something that is known only when a request comes.
    pub(super) fn delegates_by_request(&self) -> bool {
        let dynamic = |text: &str| (text.contains("%{") && !text.contains("%{GLOBAL}")) || text.contains("${");
        self.has("WSGIDispatchScript")
            || self.named("WSGIProcessGroup").any(|statement| dynamic(&statement.text()))
            || self.configuration.mounts.iter().any(|mount| mount.option("process-group").is_some_and(dynamic))
    }

    /// Whether a section whose condition cannot be judged (`<If>`, a variable in its path) grants access.
    pub(super) fn has_conditional_grant(&self, mount: &Mount) -> bool {
        ["Require", "Allow"].into_iter().flat_map(|name| self.named(name)).any(|statement| {
            (statement.host == 0 || statement.host == mount.host)
                && statement.sections.iter().any(|section| {
                    section.is("If")
                        || section.is("Else")
                        || section.is("ElseIf")
                        || section.arguments.windows(2).any(|pair| pair == b"${")
                })
        })
    }

    /// Applications in embedded mode.
    pub(super) fn embedded(&self) -> impl Iterator<Item = &Mount> {
        self.configuration.mounts.iter().filter(|mount| mount.group.is_none())
    }
}
