//! From the start of the server to the end of the first answer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use confgen::httpd::ServerRoot;

use crate::pair::{Mode, Module, Modules, Served, Site};
use crate::report::{Bound, Row};
use crate::statistics::{median, milliseconds};
use crate::{Failure, Places};

/// Starts of each module.
const ROUNDS: usize = 11;

/// Hello world and a Django project, each ours against C mod_wsgi.
pub(crate) fn compare(places: &Places) -> Result<Vec<Row>, Failure> {
    let modules = Modules::new(places)?;
    let mut rows = vec![row(&modules, "hello world", &Site::hello(Mode::Daemon))?];
    let project = Project::django(places)?;
    let site = Site { options: &project.options, ..Site::new(Mode::Daemon, &project.script) };
    rows.push(row(&modules, "a Django project", &site)?);
    Ok(rows)
}

/// A copy of a project that the serving user may write to.
pub(crate) struct Project {
    /// The text of the script that loads it.
    pub(crate) script: String,
    /// The options that its daemon group needs.
    pub(crate) options: String,
    _folder: ServerRoot,
}

impl Project {
    /// The Django project.
    pub(crate) fn django(places: &Places) -> Result<Self, Failure> {
        let folder = ServerRoot::temporary(None)?;
        let project = folder.path().join("project");
        copy(&places.django, &project)?;
        let script = fs::read_to_string(project.join("app.wsgi"))?;
        let options = format!(
            "threads=15 python-home=\"{}\" python-path=\"{}\"",
            places.venv.canonicalize()?.display(),
            project.display()
        );
        Ok(Self { script, options, _folder: folder })
    }
}

fn row(modules: &Modules, what: &str, site: &Site<'_>) -> Result<Row, Failure> {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            ours.push(first_answer(modules, Module::Ours, site)?);
            peer.push(first_answer(modules, Module::Peer, site)?);
        } else {
            peer.push(first_answer(modules, Module::Peer, site)?);
            ours.push(first_answer(modules, Module::Ours, site)?);
        }
    }
    let (ours, peer) = (median(&ours), median(&peer));
    Ok(Row {
        what: format!("daemon, {what}: from the server's start to its first answer, against C mod_wsgi"),
        value: Some(ours / peer),
        unit: "×",
        bound: Bound::AtMost(1.05),
        detail: format!("{ours:.0} against {peer:.0} ms, medians of {ROUNDS} starts"),
    })
}

fn first_answer(modules: &Modules, module: Module, site: &Site<'_>) -> Result<f64, Failure> {
    let began = Instant::now();
    let served = Served::start(modules, Some(module), site)?;
    served.request(1)?;
    let took = milliseconds(began.elapsed());
    served.stop()?;
    Ok(took)
}

/// Copies a project so that the serving user may write its database.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o777))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}
