//! `confgen show`.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::context::Context;
use super::exit::{Exit, Failure};
use super::loaded::{ConfigurationArgs, Subject};
use crate::configuration::{Configuration, Texts};

/// List what a configuration has: virtual hosts, routes to applications and folders, modules, or daemons.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  confgen show routes /etc/apache2\n  confgen show daemons site.yaml --json")]
pub(super) struct Show {
    /// What is listed: vhosts, routes, modules or daemons.
    #[arg(value_name = "WHAT", hide_possible_values = true)]
    what: What,
    #[command(flatten)]
    configuration: ConfigurationArgs,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Vhosts,
    Routes,
    Modules,
    Daemons,
}

/// Rows of a list, and the same for programs.
struct List {
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Show {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let subject = self.configuration.load(context)?;
        let configuration = Configuration::of(&subject.loaded.reading, subject.loaded.partial);
        let texts = Texts::new(&subject.loaded.reading);
        let list = match self.what {
            What::Vhosts => hosts(&configuration, &texts, &subject),
            What::Routes => routes(&configuration, &texts, &subject),
            What::Modules => modules(&configuration, &texts, &subject),
            What::Daemons => daemons(&configuration, &texts, &subject),
        };
        match context.json {
            true => context.print_json(&list.to_json()),
            false => context.print(&list.to_text()),
        }
        Ok(Exit::Ok)
    }
}

impl List {
    fn to_text(&self) -> String {
        if self.rows.is_empty() {
            return "none\n".to_owned();
        }
        let head: Vec<String> = self.head.iter().map(|name| (*name).to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|column| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        };
        all.into_iter().map(line).collect()
    }

    fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                self.head
                    .iter()
                    .zip(row)
                    .map(|(name, cell)| ((*name).to_owned(), json!(cell)))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            })
            .collect();
        rows.into()
    }
}

fn hosts(configuration: &Configuration<'_>, texts: &Texts<'_>, subject: &Subject) -> List {
    let rows = configuration
        .hosts
        .iter()
        .map(|host| {
            let place = host.statement.map(|at| subject.place(texts, &configuration.statements[at]));
            let addresses = if host.section.is_some() { host.addresses.join(" ") } else { "-".to_owned() };
            let name = host.name.clone().unwrap_or_else(|| "-".to_owned());
            vec![name, host.aliases.join(" "), addresses, place.unwrap_or_else(|| "the main server".to_owned())]
        })
        .collect();
    List { head: &["name", "aliases", "addresses", "place"], rows }
}

fn routes(configuration: &Configuration<'_>, texts: &Texts<'_>, subject: &Subject) -> List {
    let mut rows: Vec<(usize, Vec<String>)> = Vec::new();
    for mount in &configuration.mounts {
        let statement = &configuration.statements[mount.statement];
        let process = mount.group.clone().unwrap_or_else(|| "embedded".to_owned());
        let interpreter = configuration.interpreter_of(mount);
        let served = format!("{} (process: {process}, interpreter: {interpreter})", mount.script);
        let row =
            vec![configuration.hosts[mount.host].title(), mount.url.clone(), served, subject.place(texts, statement)];
        rows.push((mount.statement, row));
    }
    for name in [
        "Alias",
        "AliasMatch",
        "ScriptAlias",
        "ProxyPass",
        "ProxyPassMatch",
        "Redirect",
        "RedirectMatch",
        "RedirectPermanent",
        "DocumentRoot",
    ] {
        for statement in configuration.named(name) {
            let words: Vec<String> = statement.words().iter().map(ToString::to_string).collect();
            let (url, to) = match (name, words.as_slice()) {
                ("DocumentRoot", [root]) => ("/".to_owned(), root.clone()),
                (_, [status, from, to]) if name.starts_with("Redirect") => (from.clone(), format!("{status} {to}")),
                (_, [from, to, ..]) => (from.clone(), to.clone()),
                (_, words) => (words.join(" "), String::new()),
            };
            let host = configuration.hosts[statement.host].title();
            rows.push((statement.index, vec![host, url, format!("{to} ({name})"), subject.place(texts, statement)]));
        }
    }
    rows.sort_by_key(|(at, _)| *at);
    List { head: &["host", "url", "served by", "place"], rows: rows.into_iter().map(|(_, row)| row).collect() }
}

fn modules(configuration: &Configuration<'_>, texts: &Texts<'_>, subject: &Subject) -> List {
    let rows = configuration
        .named("LoadModule")
        .map(|statement| {
            let cell = |index| statement.word(index).unwrap_or_default().into_owned();
            vec![cell(0), cell(1), subject.place(texts, statement)]
        })
        .collect();
    List { head: &["module", "file", "place"], rows }
}

fn daemons(configuration: &Configuration<'_>, texts: &Texts<'_>, subject: &Subject) -> List {
    let rows = configuration
        .daemons
        .iter()
        .map(|daemon| {
            let statement = configuration.daemon_statement(daemon);
            let scripts: Vec<&str> = configuration
                .mounts
                .iter()
                .filter(|mount| mount.group.as_deref() == Some(daemon.name.as_str()))
                .map(|mount| mount.script.as_str())
                .collect();
            let others: Vec<String> = daemon
                .options
                .iter()
                .filter(|option| !matches!(option.name.as_str(), "processes" | "threads" | "user"))
                // A variable of the application may be a secret.
                .map(|option| match (&option.value, option.name.as_str()) {
                    (Some(_), "setenv") => "setenv=…".to_owned(),
                    (Some(value), name) => format!("{name}={value}"),
                    (None, name) => name.to_owned(),
                })
                .collect();
            vec![
                daemon.name.clone(),
                daemon.processes().to_string(),
                daemon.threads().to_string(),
                daemon.value("user").unwrap_or("-").to_owned(),
                scripts.join(" "),
                others.join(" "),
                subject.place(texts, statement),
            ]
        })
        .collect();
    List { head: &["group", "processes", "threads", "user", "scripts", "options", "place"], rows }
}
