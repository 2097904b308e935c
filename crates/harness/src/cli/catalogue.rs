//! Which scenarios and cells a command is about.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use confgen::document::{Source, Span};
use confgen::environment::Environment;
use confgen::facts::{Facts, ProbeOptions};

use super::output::Output;
use crate::exit::Exit;
use crate::runner::arrange::Surroundings;
use crate::runner::cleaner::Cleaner;
use crate::runner::filter::Filter;
use crate::runner::history::History;
use crate::runner::machine::{Machine, MachineOptions, own_folder};
use crate::runner::plan::{self, Plan, Selection};
use crate::scenario::load::{self, Loaded};
use crate::scenario::problem::{Code, Problem};

/// Scenarios and cells.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CatalogueArgs {
    /// Files and folders of scenarios, and ids (`tz-*`, `ID/VARIANT`) of the catalogue. Default: the whole catalogue.
    #[arg(value_name = "PATH|ID")]
    pub(crate) what: Vec<String>,
    /// Only cells that the filter lets through, as in 'tag(signals) & !variant(problem) & mpm(event)'.
    #[arg(short = 'E', long = "filter", value_name = "FILTER")]
    filter: Option<String>,
    /// Only cells at this position, as in mpm=event; may be given several times.
    #[arg(long, value_name = "AXIS=VALUE", value_parser = axis_value)]
    cell: Vec<(String, String)>,
    /// Only this variant.
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// The catalogue in which ids are looked up. Default: `scenarios` here, else beside the program.
    #[arg(long, value_name = "DIR")]
    catalogue: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// What to run with.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MachineArgs {
    /// The environment of Python packages. Default: HARNESS_VENV, else ../venv beside the program's folder.
    #[arg(long, value_name = "DIR", help_heading = "Machine")]
    venv: Option<PathBuf>,
    /// The C module, for `module: mod_wsgi`. Default: HARNESS_PEER, else ../peer/mod_wsgi.so beside the program's folder.
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    peer: Option<PathBuf>,
    /// The httpd. Default: the one on the search path.
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    httpd: Option<PathBuf>,
}

fn axis_value(text: &str) -> Result<(String, String), String> {
    let (axis, value) = text.split_once('=').ok_or("write AXIS=VALUE, such as mpm=event")?;
    match axis {
        "mpm" => value.parse::<crate::scenario::schema::Mpm>().map(|_| ()),
        "mode" => value.parse::<crate::scenario::schema::Mode>().map(|_| ()),
        "module" => value.parse::<crate::scenario::schema::Module>().map(|_| ()),
        "python" => value.parse::<crate::scenario::schema::PythonTag>().map(|_| ()),
        "variant" => Ok(()),
        other => Err(format!("`{other}` is none of mpm, mode, module, python, variant")),
    }?;
    Ok((axis.to_owned(), value.to_owned()))
}

/// Everything that is known before a run.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) machine: Machine,
    pub(crate) facts: Facts,
    pub(crate) history: History,
    pub(crate) history_file: Option<PathBuf>,
    pub(crate) warnings: Vec<Problem>,
}

impl Prepared {
    /// What cells are arranged with.
    pub(crate) const fn surroundings<'a>(
        &'a self,
        environment: &'a Environment,
        work: &'a Path,
        cleaner: &'a Cleaner,
    ) -> Surroundings<'a> {
        Surroundings { machine: &self.machine, facts: &self.facts, environment, work, cleaner }
    }
}

impl MachineArgs {
    /// What is named has to be there. Without this check a mistyped path would only skip cells.
    fn require(&self, environment: &Environment) -> Result<(), String> {
        let named = |option: &Option<PathBuf>, flag: &'static str, variable: &'static str| {
            let by_variable = || {
                let value = environment.get_os(variable).filter(|value| !value.is_empty())?;
                Some((PathBuf::from(value), variable))
            };
            option.clone().map(|path| (path, flag)).or_else(by_variable)
        };
        if let Some((peer, name)) = named(&self.peer, "--peer", "HARNESS_PEER")
            && !peer.is_file()
        {
            return Err(format!(
                "the C module that {name} names does not exist: {}\nhelp: run `make peer`, or leave out {name} to skip the cells of the C module",
                peer.display()
            ));
        }
        if let Some((venv, name)) = named(&self.venv, "--venv", "HARNESS_VENV")
            && !venv.join("pyvenv.cfg").is_file()
        {
            return Err(format!(
                "{name} names no virtual environment: there is no {}\nhelp: run `make setup`, or leave out {name} to skip the cells that need packages",
                venv.join("pyvenv.cfg").display()
            ));
        }
        Ok(())
    }

    /// Looks at the machine; what it lacks is shown.
    pub(crate) fn probe(&self, environment: &Environment, output: &Output) -> Result<(Machine, Facts), Exit> {
        self.look(environment).map_err(|error| {
            output.complain(&format!("error: {error}"));
            Exit::Environment
        })
    }

    fn look(&self, environment: &Environment) -> Result<(Machine, Facts), String> {
        self.require(environment)?;
        let options = ProbeOptions {
            httpd: self.httpd.clone(),
            folder: own_folder(),
            ..ProbeOptions::from_environment(environment)
        };
        let mut facts = Facts::probe(&options).map_err(|error| error.to_string())?;
        let machine =
            Machine::probe(&MachineOptions { venv: self.venv.clone(), peer: self.peer.clone() }, environment, &facts);
        facts.wsgi.mod_wsgi.clone_from(&machine.peer);
        Ok((machine, facts))
    }
}

impl CatalogueArgs {
    /// The folder in which ids are looked up.
    fn catalogue(&self) -> PathBuf {
        let here = PathBuf::from("scenarios");
        self.catalogue.clone().unwrap_or_else(|| {
            if here.is_dir() {
                here
            } else {
                own_folder().map(|folder| folder.join("scenarios")).filter(|folder| folder.is_dir()).unwrap_or(here)
            }
        })
    }

    /// Splits what was given into paths and ids. Without a path it is about the catalogue.
    fn split(&self) -> (Vec<PathBuf>, Vec<String>) {
        let looks_like_path = |text: &String| {
            // An id has a slash before its variant only.
            let folder = text.split_once('/').is_some_and(|(first, _)| std::path::Path::new(first).is_dir());
            std::path::Path::new(text).exists()
                || folder
                || text.split('[').next().unwrap_or_default().matches('/').count() > 1
                || text.ends_with(".yaml")
                || text.ends_with(".yml")
                || text.starts_with(['.', '/'])
        };
        let (paths, ids): (Vec<_>, Vec<_>) = self.what.iter().cloned().partition(looks_like_path);
        (paths.into_iter().map(PathBuf::from).collect(), ids)
    }

    /// Where scenarios are looked for: at the paths, and ids in the catalogue too.
    fn places(&self) -> Vec<PathBuf> {
        let (mut paths, ids) = self.split();
        let catalogue = self.catalogue();
        if paths.is_empty() || (!ids.is_empty() && catalogue.is_dir()) {
            paths.push(catalogue);
        }
        paths
    }

    /// Loads the scenarios, with all problems of all files: one that is wrong does not hide what is wrong with the others. Those
    /// that have mistakes are among them, as far as they can be read.
    pub(crate) fn load(&self) -> (Vec<Arc<Loaded>>, Vec<Problem>) {
        let files = match load::discover(&self.places()) {
            Ok(files) => files,
            Err(problems) => return (Vec::new(), problems),
        };
        let mut problems = Vec::new();
        let mut scenarios = Vec::new();
        for file in files {
            match load::read(&file) {
                Ok(loaded) => {
                    problems.extend(loaded.mistakes.iter().cloned());
                    scenarios.push(Arc::new(loaded));
                }
                Err(found) => problems.extend(found),
            }
        }
        (scenarios, problems)
    }

    /// The filter and the other choices.
    fn selection(&self) -> Result<Selection, Problem> {
        let filter = match &self.filter {
            None => None,
            Some(text) => Some(Filter::parse(text).map_err(|error| {
                let source = Source::new("the filter", text.as_str());
                Problem::error(Code::Expression, error.message)
                    .at(Span::new(&source, error.span), "")
                    .maybe_help(error.help)
            })?),
        };
        let (paths, ids) = self.split();
        let files = if paths.is_empty() { Vec::new() } else { load::discover(&paths).unwrap_or_default() };
        let files = files.into_iter().collect();
        Ok(Selection { filter, cell: self.cell.clone(), ids, files, variant: self.variant.clone() })
    }

    /// Loads and plans; what is wrong is shown.
    pub(crate) fn prepare(&self, environment: &Environment, output: &Output) -> Result<Prepared, Exit> {
        let show = |problems: Vec<Problem>| {
            output.problems(&problems);
            output.complain(&count_of(&problems));
            Exit::Scenario
        };
        let (scenarios, problems) = self.load();
        if !problems.is_empty() {
            return Err(show(with_servers(problems, &scenarios, &self.machine, environment)));
        }
        let selection = self.selection().map_err(|problem| show(vec![problem]))?;
        let (machine, facts) = self.machine.probe(environment, output)?;
        let history_file = History::default_file(environment);
        let history = history_file.as_deref().map(History::read).unwrap_or_default();
        let plan = plan::plan(&scenarios, &machine, &selection, &history).map_err(show)?;
        let wrong = plan::check_servers(&plan, &machine);
        if !wrong.is_empty() {
            return Err(show(wrong));
        }
        if plan.cells.is_empty() {
            self.nothing(&scenarios, output);
            return Err(Exit::NothingSelected);
        }
        let warnings = scenarios.iter().flat_map(|scenario| scenario.warnings.clone()).collect();
        Ok(Prepared { plan, machine, facts, history, history_file, warnings })
    }

    /// Says why no cell is left.
    fn nothing(&self, scenarios: &[Arc<Loaded>], output: &Output) {
        if scenarios.is_empty() {
            let paths: Vec<_> = self.places().iter().map(|path| path.display().to_string()).collect();
            output.complain(&format!("error: there are no scenarios in {}", paths.join(", ")));
            return;
        }
        output.complain("error: no cell is selected");
    }
}

/// The problems of scenarios together with those of their servers, as far as the machine lets them be judged.
fn with_servers(
    mut problems: Vec<Problem>,
    scenarios: &[Arc<Loaded>],
    machine: &MachineArgs,
    environment: &Environment,
) -> Vec<Problem> {
    if let Ok((machine, _)) = machine.look(environment) {
        problems.extend(of_servers(scenarios, &machine));
        load::sort(&mut problems);
    }
    problems
}

/// What is wrong with the cells of scenarios and their servers.
pub(crate) fn of_servers(scenarios: &[Arc<Loaded>], machine: &Machine) -> Vec<Problem> {
    match plan::plan(scenarios, machine, &Selection::default(), &History::default()) {
        Ok(plan) => plan::check_servers(&plan, machine),
        Err(wrong) => wrong,
    }
}

/// `3 errors, 1 warning`
pub(crate) fn count_of(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = problems.len() - errors;
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, warnings) => plural(warnings, "warning"),
        (errors, 0) => plural(errors, "error"),
        (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}
