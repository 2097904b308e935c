//! Variants × matrix to cells.

mod cell;
mod daemons;
mod needs;
mod server;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use confgen::diagnostic::closest;

use super::filter::{Filter, Subject, glob};
use super::history::History;
use super::machine::Machine;
use super::outcome::CellId;
use crate::scenario::expression::Scope;
use crate::scenario::load::Loaded;
use crate::scenario::prepared::PreparedStep;
use crate::scenario::problem::{Code, Problem};
use crate::scenario::schema::{Axes, Expect, Expectation, Matrix, Mode, Module, Mpm, Variant};
use crate::scenario::template::Places;
pub use cell::{Cell, CellFile, Condition};

/// The longest time of a cell whose scenario names none.
pub const DEFAULT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);

/// The variant of a scenario that names none.
const DEFAULT_VARIANT: &str = "default";

/// What a cell is taken to last of which nothing is known.
const TYPICAL: std::time::Duration = std::time::Duration::from_secs(2);

/// Cells to run.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The cells, in the order of scenarios, variants and axes; skipped ones are among them.
    pub cells: Vec<Cell>,
    /// The indices of the cells that are run, those that take longest first.
    pub order: Vec<usize>,
}

/// Which cells are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The filter of `-E`.
    pub filter: Option<Filter>,
    /// `--cell AXIS=VALUE`: all must fit.
    pub cell: Vec<(String, String)>,
    /// Ids, or `ID/VARIANT`; `*` stands for anything. One must fit, if there are any.
    pub ids: Vec<String>,
    /// Scenario files that are wanted whatever their ids are.
    pub files: HashSet<PathBuf>,
    /// `--variant NAME`.
    pub variant: Option<String>,
}

impl Selection {
    /// Whether a cell is wanted.
    #[must_use]
    pub fn matches(&self, cell: &Cell) -> bool {
        let file = cell.scenario.file.display().to_string();
        let python = cell.python.to_string();
        let subject = Subject {
            id: &cell.id.scenario,
            tags: &cell.scenario.scenario.tags,
            variant: &cell.id.variant,
            mpm: cell.mpm.name(),
            mode: cell.mode.map_or("", Mode::name),
            module: cell.module.name(),
            python: &python,
            expect: cell.expected.name(),
            file: &file,
            source: cell.scenario.scenario.source.as_deref().unwrap_or_default(),
        };
        let axis = |name: &str| match name {
            "mpm" => subject.mpm,
            "mode" => subject.mode,
            "module" => subject.module,
            "python" => subject.python,
            "variant" => subject.variant,
            _ => "",
        };
        let short = format!("{}/{}", cell.id.scenario, cell.id.variant);
        let whole = cell.id.to_string();
        let by_id = |pattern: &String| [subject.id, &short, &whole].into_iter().any(|name| glob(pattern, name));
        let by_file = self.files.contains(&cell.scenario.file);
        self.filter.as_ref().is_none_or(|filter| filter.matches(&subject))
            && self.cell.iter().all(|(name, value)| axis(name) == value)
            && (self.ids.is_empty() || by_file || self.ids.iter().any(by_id))
            && self.variant.as_ref().is_none_or(|variant| variant == subject.variant)
    }
}

/// Plans scenarios.
///
/// # Errors
/// Everything that is wrong with them beyond each one's own text: equal ids and axes without an expectation. Also ids and
/// variants of the selection that do not exist.
pub fn plan(
    scenarios: &[Arc<Loaded>],
    machine: &Machine,
    selection: &Selection,
    history: &History,
) -> Result<Plan, Vec<Problem>> {
    let mut problems = duplicate_ids(scenarios);
    problems.extend(unknown_names(scenarios, selection));
    let mut cells = Vec::new();
    for scenario in scenarios {
        let made = cells_of(scenario, machine, &mut problems);
        cells.extend(made.into_iter().filter(|cell| selection.matches(cell)));
    }
    let mut order: Vec<_> = (0..cells.len()).filter(|index| cells[*index].skip.is_none()).collect();
    let expected = |cell: &Cell| history.of(&cell.id.to_string()).or(cell.takes).unwrap_or(TYPICAL);
    order.sort_by_key(|index| (cells[*index].exclusive, std::cmp::Reverse(expected(&cells[*index]))));
    if problems.iter().any(Problem::is_error) { Err(problems) } else { Ok(Plan { cells, order }) }
}

/// Everything that is wrong with the servers of cells: each is merged, filled with stand-ins and read as a spec.
#[must_use]
pub fn check_servers(plan: &Plan, machine: &Machine) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut places = Places::sample();
    places.https_port = Some(8443);
    let venv = machine.venv.as_ref().map(|venv| venv.display().to_string());
    // Cells that need one are skipped where there is none; their servers are judged all the same.
    places.venv = venv.or_else(|| Some("/venv".to_owned()));
    let mut seen = std::collections::HashSet::new();
    for cell in &plan.cells {
        // Cells that differ in nothing but the MPM have servers that differ in nothing but its name.
        if !seen.insert((&cell.id.scenario, &cell.id.variant, cell.module, cell.mode, cell.python)) {
            continue;
        }
        daemons::check(cell, &mut problems);
        places.ports = cell.ports.iter().zip(8001..).map(|(name, port)| (name.clone(), port)).collect();
        let mut scope = cell.scope(&places, machine);
        scope.set("parent", 1i64);
        let found = match cell.server(&scope, &places) {
            // A hole that only a running server can fill is no mistake of the text.
            Err(_) => continue,
            Ok(node) => confgen::spec::Spec::from_node(node).err().unwrap_or_default(),
        };
        for problem in found {
            let known = problems.iter().any(|known| known.message == problem.message && known.labels == problem.labels);
            if !known {
                problems.push(problem.note(format!("in the cell {}", cell.id)));
            }
        }
    }
    problems
}

/// Ids and variants that were asked for and do not exist.
fn unknown_names(scenarios: &[Arc<Loaded>], selection: &Selection) -> Vec<Problem> {
    let unknown = |message: String| Problem::error(Code::UnknownScenario, message);
    let mut problems = Vec::new();
    let all: Vec<&str> = scenarios.iter().map(|scenario| scenario.scenario.id.as_str()).collect();
    let variants = |scenario: &Loaded| -> Vec<String> {
        let named = scenario.scenario.variants.keys().cloned();
        if scenario.scenario.variants.is_empty() { vec![DEFAULT_VARIANT.to_owned()] } else { named.collect() }
    };
    let mut wanted: Vec<&Loaded> = Vec::new();
    for pattern in &selection.ids {
        let (id, rest) = pattern.split_once('/').map_or((pattern.as_str(), None), |(id, rest)| (id, Some(rest)));
        let found: Vec<&Loaded> =
            scenarios.iter().map(Arc::as_ref).filter(|scenario| glob(id, &scenario.scenario.id)).collect();
        // The axes stand behind the variant, in brackets.
        let variant = rest.map(|rest| rest.split('[').next().unwrap_or_default());
        let own: Vec<String> = found.iter().flat_map(|scenario| variants(scenario)).collect();
        if found.is_empty() {
            let meant = closest(id, all.iter().copied()).map(|word| format!("did you mean `{word}`?"));
            let help = meant.or_else(|| Some("`harness list` shows all scenarios".to_owned()));
            problems.push(unknown(format!("there is no scenario `{id}`")).maybe_help(help));
        } else if let Some(variant) = variant.filter(|variant| !own.iter().any(|name| glob(variant, name))) {
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            problems.push(unknown(format!("`{id}` has no variant `{variant}`")).known(variant, &own));
        }
        wanted.extend(found);
    }
    if selection.ids.is_empty() {
        wanted.extend(scenarios.iter().map(Arc::as_ref));
    }
    wanted.extend(scenarios.iter().map(Arc::as_ref).filter(|scenario| selection.files.contains(&scenario.file)));
    let mut own: Vec<String> = wanted.iter().flat_map(|scenario| variants(scenario)).collect();
    own.sort_unstable();
    own.dedup();
    let by_axis = selection.cell.iter().filter(|(axis, _)| axis == "variant").map(|(_, variant)| variant);
    for variant in selection.variant.iter().chain(by_axis).filter(|variant| !own.is_empty() && !own.contains(variant)) {
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        problems.push(unknown(format!("no selected scenario has a variant `{variant}`")).known(variant, &own));
    }
    problems
}

fn duplicate_ids(scenarios: &[Arc<Loaded>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        if let Some(first) = scenarios[..index].iter().find(|other| other.scenario.id == scenario.scenario.id) {
            let problem = Problem::error(
                Code::DuplicateScenario,
                format!("two scenarios have the id `{}`", scenario.scenario.id),
            );
            problems.push(
                problem
                    .at(scenario.locate("/id", None), "the second one")
                    .at(first.locate("/id", None), "the first one"),
            );
        }
    }
    problems
}

/// Values of an axis; a single "not named" where the matrix does not have it.
fn axis<T: Copy>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() { vec![None] } else { values.iter().copied().map(Some).collect() }
}

/// The positions of a matrix.
fn positions(matrix: &Matrix) -> Vec<Axes> {
    let mut positions = Vec::new();
    for mpm in axis(matrix.mpm.as_slice()) {
        for mode in axis(matrix.mode.as_slice()) {
            for module in axis(matrix.module.as_slice()) {
                for python in axis(matrix.python.as_slice()) {
                    positions.push(Axes { mpm, mode, module, python });
                }
            }
        }
    }
    let effective = |axes: &Axes| Axes {
        mpm: axes.mpm.or(Some(Mpm::Event)),
        mode: axes.mode,
        module: axes.module.or(Some(Module::Ours)),
        python: axes.python,
    };
    positions.retain(|position| !matrix.exclude.iter().any(|excluded| excluded.includes(&effective(position))));
    for included in &matrix.include {
        if !positions.contains(included) {
            positions.push(*included);
        }
    }
    positions
}

fn cells_of(scenario: &Arc<Loaded>, machine: &Machine, problems: &mut Vec<Problem>) -> Vec<Cell> {
    let whole = Variant {
        expect: Expect::Always(Expectation::Healthy),
        title: None,
        server: None,
        vars: indexmap::IndexMap::new(),
        files: indexmap::IndexMap::new(),
        needs: None,
        matrix: None,
        allow_log: Vec::new(),
        allow_death: Vec::new(),
        steps: None,
        symptom: None,
        healthy: None,
        vacuous: None,
        timeout: None,
        takes: None,
        start: None,
        launch: None,
        before: None,
    };
    let variants = &scenario.scenario.variants;
    let variants: Vec<_> = match variants.is_empty() {
        true => vec![(DEFAULT_VARIANT, None, &whole)],
        false => variants.iter().map(|(name, variant)| (name.as_str(), Some(name.as_str()), variant)).collect(),
    };
    let mut cells = Vec::new();
    for (name, key, variant) in variants {
        let matrix = variant.matrix.as_ref().unwrap_or(&scenario.scenario.matrix);
        let positions = positions(matrix);
        if positions.is_empty() {
            let pointer = key
                .filter(|_| variant.matrix.is_some())
                .map_or_else(|| "/matrix".to_owned(), |key| format!("/variants/{key}/matrix"));
            let problem = Problem::error(Code::NoCells, format!("the matrix leaves no cell of the variant `{name}`"));
            problems.push(problem.at(scenario.locate(&pointer, None), ""));
        }
        for axes in positions {
            let id = CellId { scenario: scenario.scenario.id.clone(), variant: name.to_owned(), axes };
            let module = axes.module.unwrap_or(Module::Ours);
            let python = axes.python.map_or(machine.python, |python| python.version());
            match expectation(&variant.expect, module, python) {
                Ok(Some(expected)) => cells.push(Cell::new(id, scenario, key, variant, expected, machine)),
                Ok(None) => {
                    let message =
                        format!("no condition of `expect` fits {module} with Python {}.{}", python.0, python.1);
                    let place = scenario.locate(&format!("/variants/{name}/expect"), None);
                    problems.push(
                        Problem::error(Code::Expectation, message)
                            .at(place, "")
                            .help("add `else: healthy` or another condition"),
                    );
                }
                Err(reason) => {
                    let place = scenario.locate(&format!("/variants/{name}/expect"), None);
                    problems.push(Problem::error(Code::Expectation, reason).at(place, ""));
                }
            }
        }
    }
    crate::scenario::load::sort(problems);
    cells
}

/// What a cell must show; nothing if no condition fits.
fn expectation(expect: &Expect, module: Module, python: (u32, u32)) -> Result<Option<Expectation>, String> {
    let conditions = match expect {
        Expect::Always(expectation) => return Ok(Some(*expectation)),
        Expect::When(conditions) => conditions,
    };
    for (condition, expectation) in conditions {
        let condition = condition.trim();
        let (wanted, version) = match condition.split_once("python") {
            Some((before, version)) => (before.trim(), Some(version.trim())),
            None => (condition, None),
        };
        let module_fits =
            match wanted {
                "" | "else" => true,
                name => module == name.parse::<Module>().map_err(|_| {
                    format!(
                        "`{condition}` is no condition: write ours, mod_wsgi, `python >=3.12`, both of these, or else"
                    )
                })?,
            };
        let version_fits = version.map_or(Ok(true), |version| needs::version_fits(version, python))?;
        if module_fits && version_fits {
            return Ok(Some(*expectation));
        }
    }
    Ok(None)
}

/// The steps of a scenario or a variant, ready to run.
fn prepare(scenario: &Loaded, pointer: &str) -> Vec<PreparedStep> {
    let steps = crate::scenario::span::node_at(&scenario.root, pointer)
        .and_then(confgen::document::Node::as_seq)
        .unwrap_or_default();
    steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| PreparedStep::new(&step.to_json(), &format!("{pointer}/{index}")))
        .collect()
}

/// Evaluates a list of conditions in a scope.
fn judged(conditions: &[Condition], scope: &Scope<'_>) -> super::outcome::Side {
    let list = |condition: &Condition| condition.pointer.rsplit_once('/').map_or("", |(list, _)| list).to_owned();
    let pointer = conditions.first().map(list).unwrap_or_default();
    let judged = conditions
        .iter()
        .map(|condition| {
            let failure = crate::assertions::condition(
                &condition.source,
                scope,
                super::outcome::FailureKind::Expectation,
                &condition.pointer,
            );
            super::outcome::Judged { holds: failure.is_none(), failure }
        })
        .collect();
    super::outcome::Side { pointer, judged }
}

#[cfg(test)]
mod tests;
