//! Folders with static files, which httpd sends without Python.

use regex_lite::Regex;

use super::scan::{STATIC_FOLDERS, Scan};
use super::sources::Sources;
use super::{Candidate, Framework, join, parent};

/// A folder with static files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticFolder {
    /// The URL path.
    pub url: String,
    /// The folder, below the project's.
    pub folder: String,
    /// Whether the application itself serves it there. Otherwise nobody may have meant the folder to be seen.
    pub certain: bool,
}

/// The folders of an application.
pub(super) fn of(best: &Candidate, sources: &Sources<'_>, scan: &Scan) -> Vec<StaticFolder> {
    match best.framework {
        Framework::Django => django(best, sources, scan),
        Framework::Flask => flask(best, sources, scan),
        Framework::Pyramid => pyramid(sources, scan),
        _ => beside(&best.home, scan),
    }
}

/// `STATIC_URL` as the settings write it, and the folder that is most likely filled by `collectstatic`.
fn django(best: &Candidate, sources: &Sources<'_>, scan: &Scan) -> Vec<StaticFolder> {
    let pattern = Regex::new(r#"(?m)^STATIC_URL\s*=\s*["']([^"']*)["']"#);
    let written = pattern.ok().and_then(|pattern| {
        let found = sources.all.iter().find_map(|source| pattern.captures(source.text))?;
        Some(found.get(1)?.as_str().to_owned())
    });
    let url = url(written.as_deref().unwrap_or("static/"));
    let folder = STATIC_FOLDERS.iter().map(|name| join(&best.home, name)).find(|folder| scan.statics.contains(folder));
    url.zip(folder).map(|(url, folder)| StaticFolder { url, folder, certain: true }).into_iter().collect()
}

/// Flask serves `static` beside the module, unless it is told otherwise.
fn flask(best: &Candidate, sources: &Sources<'_>, scan: &Scan) -> Vec<StaticFolder> {
    // A module that imports the application has no folder of its own.
    let makers = sources.all.iter().filter(|source| source.module.imports_from("flask"));
    let mut folders = makers.filter(|source| source.text.contains("Flask(")).map(|source| {
        let told = source.text.contains("static_folder") || source.text.contains("static_url_path");
        (join(parent(source.path), "static"), told)
    });
    let own = join(parent(&best.file), "static");
    let found = folders
        .find(|(folder, _)| scan.statics.contains(folder))
        .or_else(|| scan.statics.contains(&own).then_some((own, true)));
    let found = found.map(|(folder, told)| StaticFolder { url: "/static".to_owned(), folder, certain: !told });
    found.into_iter().collect()
}

/// `add_static_view(name, path)` with a folder of a package of the project.
fn pyramid(sources: &Sources<'_>, scan: &Scan) -> Vec<StaticFolder> {
    let pattern = r#"add_static_view\(\s*(?:name\s*=\s*)?["']([^"']+)["']\s*,\s*(?:path\s*=\s*)?["']([^"']+)["']"#;
    let Ok(pattern) = Regex::new(pattern) else { return Vec::new() };
    let mut found: Vec<StaticFolder> = Vec::new();
    for source in &sources.all {
        for views in pattern.captures_iter(source.text) {
            let (Some(name), Some(path)) = (views.get(1), views.get(2)) else { continue };
            let package = parent(source.path);
            let folder = match path.as_str().split_once(':') {
                // The package has the name of the folder that the source is in, or of one around it.
                Some((module, rest)) => scan.statics.iter().find(|folder| {
                    let wanted = join(&module.replace('.', "/"), rest);
                    **folder == wanted || folder.ends_with(&format!("/{wanted}"))
                }),
                None => scan.statics.iter().find(|folder| **folder == join(package, path.as_str())),
            };
            if let (Some(url), Some(folder)) = (url(name.as_str()), folder)
                && !found.iter().any(|known| known.url == url)
            {
                found.push(StaticFolder { url, folder: folder.clone(), certain: true });
            }
        }
    }
    found
}

/// A folder that is only called so.
fn beside(home: &str, scan: &Scan) -> Vec<StaticFolder> {
    let folder = join(home, "static");
    let found =
        scan.statics.contains(&folder).then(|| StaticFolder { url: "/static".to_owned(), folder, certain: false });
    found.into_iter().collect()
}

/// A URL path of this server. Another server's is none, and neither is one that could not be written into a spec.
fn url(written: &str) -> Option<String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._/".contains(letter);
    if written.contains("//") || !written.chars().all(plain) {
        return None;
    }
    let inner = written.trim_matches('/');
    (!inner.is_empty() && !inner.split('/').any(|part| part.starts_with('.'))).then(|| format!("/{inner}"))
}
