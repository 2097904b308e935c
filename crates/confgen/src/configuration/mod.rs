//! What a configuration of httpd means: virtual hosts, sections, daemons and applications, and which setting counts where.
//!
//! [`load`] reads a file or a folder, [`Configuration::of`] arranges what was read, and the other modules answer questions
//! about it. Nothing here judges; `lint` does, `route` follows requests, and `import` turns it into a spec.

mod daemons;
mod load;
mod mounts;
mod options;
mod scope;
mod texts;

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

pub use daemons::Daemon;
pub use load::{LoadError, Loaded, load, load_main, load_text};
pub use mounts::{Handler, Mount, MountKind};
pub use options::Opt;
pub use scope::{Target, same_or_below};
pub use texts::{Part, Texts};

use crate::conf::reader::{Node, Reading};

/// A configuration.
#[derive(Debug)]
pub struct Configuration<'r> {
    /// What was read.
    pub reading: &'r Reading,
    /// The main server and the virtual hosts, in order. The main server is the first.
    pub hosts: Vec<Host<'r>>,
    /// Every directive and section, in order.
    pub statements: Vec<Statement<'r>>,
    /// Groups of daemon processes.
    pub daemons: Vec<Daemon>,
    /// Where applications are mounted.
    pub mounts: Vec<Mount>,
    /// Whether the text is a part of a configuration, so that what is missing may stand elsewhere.
    pub partial: bool,
    /// Whether it is a `.htaccess` file.
    pub htaccess: bool,
    names: HashMap<String, Named>,
}

/// The places of the directives of one name.
#[derive(Debug, Default)]
struct Named {
    /// All of them.
    all: Vec<usize>,
    /// Those of each host.
    of_hosts: HashMap<usize, Vec<usize>>,
}

/// The main server or a virtual host.
#[derive(Debug)]
pub struct Host<'r> {
    /// The section; `None` for the main server.
    pub section: Option<&'r Node>,
    /// The index of the section's [`Statement`].
    pub statement: Option<usize>,
    /// The addresses of its section, as they are written.
    pub addresses: Vec<String>,
    /// The name of `ServerName`, without scheme and port.
    pub name: Option<String>,
    /// The names of `ServerAlias`.
    pub aliases: Vec<String>,
}

impl Host<'_> {
    /// What messages call it.
    #[must_use]
    pub fn title(&self) -> String {
        match (&self.name, self.section) {
            (Some(name), _) => name.clone(),
            (None, Some(_)) => format!("<VirtualHost {}>", self.addresses.join(" ")),
            (None, None) => "the main server".to_owned(),
        }
    }

    /// The ports of its section's addresses; an address without a port, or with `*`, has none.
    #[must_use]
    pub fn ports(&self) -> Vec<Option<u16>> {
        self.addresses.iter().map(|address| port_of(address)).collect()
    }
}

/// The port of an address of `<VirtualHost>` or `Listen`.
#[must_use]
pub fn port_of(address: &str) -> Option<u16> {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(']') && host.contains(':') && !host.starts_with('[') => {
            // An IPv6 address without brackets has no port.
            let _ = port;
            None
        }
        Some((_, port)) => port.parse().ok(),
        None => address.parse().ok(),
    }
}

/// A directive or a section, with where it stands.
#[derive(Clone, Debug)]
pub struct Statement<'r> {
    /// Its place in [`Configuration::statements`].
    pub index: usize,
    /// The directive or section.
    pub node: &'r Node,
    /// The index of its host.
    pub host: usize,
    /// The sections around it within the host, the outermost first. `<VirtualHost>` is not among them.
    pub sections: Rc<[&'r Node]>,
}

impl<'r> Statement<'r> {
    /// Its words as text, variables replaced. Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn words(&self) -> Vec<Cow<'r, str>> {
        self.node.words.iter().map(|word| String::from_utf8_lossy(word)).collect()
    }

    /// One of its words, from 0.
    #[must_use]
    pub fn word(&self, index: usize) -> Option<Cow<'r, str>> {
        self.node.words.get(index).map(|word| String::from_utf8_lossy(word))
    }

    /// The value of one of its options (`name=value`), without quotes.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<String> {
        let options = options::options(&self.node.arguments, 0);
        options.into_iter().rev().find(|option| option.name == name)?.value
    }

    /// Its arguments as one text.
    #[must_use]
    pub fn text(&self) -> Cow<'r, str> {
        String::from_utf8_lossy(&self.node.arguments)
    }

    /// Whether its first word is this one, in any case of letters.
    #[must_use]
    pub fn is_set_to(&self, value: &str) -> bool {
        self.word(0).is_some_and(|word| word.eq_ignore_ascii_case(value))
    }

    /// Whether it is `On`.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_set_to("On")
    }

    /// Whether it stands in a section of this kind.
    #[must_use]
    pub fn within(&self, section: &str) -> bool {
        self.sections.iter().any(|node| node.is(section))
    }

    /// Whether a word holds a variable whose value is not known, so that nothing can be said about it.
    #[must_use]
    pub fn is_unresolved(&self) -> bool {
        self.node.arguments.windows(2).any(|pair| pair == b"${")
    }
}

impl<'r> Configuration<'r> {
    /// Arranges what was read.
    #[must_use]
    pub fn of(reading: &'r Reading, partial: bool) -> Self {
        let htaccess = reading.sources.first().is_some_and(|source| {
            source.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".htaccess"))
        });
        let main = Host { section: None, statement: None, addresses: Vec::new(), name: None, aliases: Vec::new() };
        let mut made = Self {
            reading,
            hosts: vec![main],
            statements: Vec::new(),
            daemons: Vec::new(),
            mounts: Vec::new(),
            partial,
            htaccess,
            names: HashMap::new(),
        };
        made.add(&reading.nodes, 0, &Rc::from([]));
        for (index, statement) in made.statements.iter().enumerate() {
            let named = made.names.entry(statement.node.name.to_ascii_lowercase()).or_default();
            named.all.push(index);
            named.of_hosts.entry(statement.host).or_default().push(index);
        }
        made.name_hosts();
        made.daemons = daemons::of(&made);
        made.mounts = mounts::of(&made);
        made
    }

    fn add(&mut self, nodes: &'r [Node], host: usize, sections: &Rc<[&'r Node]>) {
        for node in nodes {
            let index = self.statements.len();
            self.statements.push(Statement { index, node, host, sections: Rc::clone(sections) });
            let Some(children) = &node.children else { continue };
            if node.is("VirtualHost") {
                let addresses = node.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
                self.hosts.push(Host {
                    section: Some(node),
                    statement: Some(index),
                    addresses,
                    name: None,
                    aliases: Vec::new(),
                });
                self.add(children, self.hosts.len() - 1, &Rc::from([]));
            } else {
                let within: Rc<[&Node]> = sections.iter().copied().chain([node]).collect();
                self.add(children, host, &within);
            }
        }
    }

    fn name_hosts(&mut self) {
        let names: Vec<(usize, String)> = self
            .named("ServerName")
            .filter_map(|statement| Some((statement.host, bare_name(&statement.word(0)?))))
            .collect();
        for (host, name) in names {
            self.hosts[host].name = Some(name);
        }
        let aliases: Vec<(usize, Vec<String>)> = self
            .named("ServerAlias")
            .map(|statement| (statement.host, statement.words().iter().map(ToString::to_string).collect()))
            .collect();
        for (host, names) in aliases {
            self.hosts[host].aliases.extend(names);
        }
    }

    /// The directives (or sections) of a name, in order.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Statement<'r>> + use<'_, 'r> {
        self.indices(name).iter().map(|index| &self.statements[*index])
    }

    /// The places of the directives of a name in [`Self::statements`].
    #[must_use]
    pub fn indices(&self, name: &str) -> &[usize] {
        self.names.get(&name.to_ascii_lowercase()).map_or(&[], |named| named.all.as_slice())
    }

    /// The places of the directives of a name in a host.
    #[must_use]
    pub fn indices_of(&self, host: usize, name: &str) -> &[usize] {
        let named = self.names.get(&name.to_ascii_lowercase());
        named.and_then(|named| named.of_hosts.get(&host)).map_or(&[], Vec::as_slice)
    }

    /// Whether a directive of this name is in effect anywhere.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !self.indices(name).is_empty()
    }

    /// The last directive of a name that counts for a whole host: its own, else the main server's.
    #[must_use]
    pub fn of_host(&self, host: usize, name: &str) -> Option<&Statement<'r>> {
        let at = |wanted: usize| {
            let own = self.indices_of(wanted, name).iter().rev().map(|index| &self.statements[*index]);
            own.into_iter().find(|statement| statement.sections.is_empty())
        };
        at(host).or_else(|| at(0))
    }

    /// Whether a module is loaded, by its name without `_module`; `None` when that cannot be known.
    #[must_use]
    pub fn loads(&self, module: &str) -> Option<bool> {
        let name = format!("{module}_module");
        let loaded = self.reading.modules.contains(&name);
        (loaded || !self.partial).then_some(loaded)
    }

    /// Whether the wsgi module is the one of this project; `None` when the configuration does not load one.
    #[must_use]
    pub fn is_ours(&self) -> Option<bool> {
        self.named("LoadModule")
            .find(|statement| statement.word(0).is_some_and(|name| name == "wsgi_module"))
            .and_then(|statement| statement.word(1))
            .map(|file| file.contains("mod_wsgi_rs"))
    }

    /// Whether anything of the wsgi module is used.
    #[must_use]
    pub fn uses_wsgi(&self) -> bool {
        !self.mounts.is_empty() || self.names.keys().any(|name| name.starts_with("wsgi"))
    }

    /// The name of the multi-processing module, if the configuration loads one.
    #[must_use]
    pub fn mpm(&self) -> Option<&'static str> {
        ["event", "worker", "prefork"]
            .into_iter()
            .find(|mpm| self.reading.modules.contains(&format!("mpm_{mpm}_module")))
    }
}

/// A server's name without scheme and port.
fn bare_name(text: &str) -> String {
    let name = text.split_once("://").map_or(text, |(_, rest)| rest);
    match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
