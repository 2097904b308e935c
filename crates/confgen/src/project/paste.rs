//! PasteDeploy files, which Pyramid's projects are configured with: `production.ini`, `development.ini`.

use super::sources::{Sources, home, imported};
use super::{Candidate, Framework, MADE, Serve, parent};

pub(super) const RANK: u8 = 3;

/// Sections that name an application.
const KINDS: &[&str] = &["app", "application", "composite", "composit", "pipeline", "filter-app"];

/// The application `main` of each file that has one. One for production comes first.
pub(super) fn candidates(sources: &Sources<'_>) -> Vec<Candidate> {
    let files = sources.scan.files.iter().filter(|file| file.path.ends_with(".ini") && has_main(&file.text));
    let mut files: Vec<_> = files.collect();
    let place = |path: &str| match path.rsplit('/').next() {
        Some("production.ini") => 0,
        Some("development.ini") => 2,
        _ => 1,
    };
    files.sort_by_key(|file| (place(&file.path), file.path.len()));
    let Some(best) = files.first() else { return Vec::new() };
    // The others are the same application with other settings: they stand beside the first one.
    let beside = |path: &str| parent(path) == parent(&best.path);
    let mut kept = vec![*best];
    kept.extend(files[1..].iter().copied().filter(|file| !beside(&file.path)));
    kept.into_iter().map(|file| candidate(sources, &file.path, &file.text)).collect()
}

fn candidate(sources: &Sources<'_>, path: &str, text: &str) -> Candidate {
    let pyramid = text.contains("pyramid") || sources.all.iter().any(|source| source.module.imports_from("pyramid"));
    let head = format!("{MADE} It loads the application `main` that {path} configures.\nimport os\n\n");
    // A string of JSON is one of Python too.
    let place = serde_json::Value::from(path);
    let file = format!("os.path.join(os.path.dirname(os.path.abspath(__file__)), {place})");
    let script = match pyramid {
        true => format!(
            "{head}from pyramid.paster import get_app, setup_logging\n\nsettings = {file}\nsetup_logging(settings)\napplication = get_app(settings, \"main\")\n"
        ),
        false => format!(
            "{head}from paste.deploy import loadapp\n\nsettings = {file}\napplication = loadapp(\"config:\" + settings, name=\"main\")\n"
        ),
    };
    let folder = parent(path);
    let source = if folder.is_empty() { "src".to_owned() } else { format!("{folder}/src") };
    let has_source = sources.all.iter().any(|file| file.path.starts_with(&format!("{source}/")));
    let base = if has_source { source } else { folder.to_owned() };
    Candidate {
        framework: if pyramid { Framework::Pyramid } else { Framework::PasteDeploy },
        name: "main".to_owned(),
        file: path.to_owned(),
        serve: Serve::Made(script),
        home: home(&base),
        import_from: imported(&base),
        rank: RANK,
    }
}

/// Whether a file names an application `main`.
fn has_main(text: &str) -> bool {
    text.lines().any(|line| {
        let section = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let pair = section.and_then(|section| section.split_once(':'));
        pair.is_some_and(|(kind, name)| KINDS.contains(&kind.trim()) && name.trim() == "main")
    })
}
