//! The locales of the machine, read from where the C library keeps them.

use std::fs;
use std::path::Path;

const FOLDER: &str = "/usr/lib/locale";

/// Names of all locales: those built in, folders, and those of the archive.
pub(super) fn installed() -> Vec<String> {
    let mut names = vec!["C".to_owned(), "POSIX".to_owned()];
    for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        if entry.path().join("LC_CTYPE").is_file()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.extend(archive(&Path::new(FOLDER).join("locale-archive")));
    names.sort();
    names.dedup();
    names
}

/// The names in a locale archive: its header says where the strings are.
fn archive(path: &Path) -> Vec<String> {
    let Ok(bytes) = fs::read(path) else { return Vec::new() };
    let field = |index: usize| -> Option<usize> {
        let bytes: [u8; 4] = bytes.get(index * 4..index * 4 + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    // magic, serial, then for names and strings: offset, used, size
    let (Some(offset), Some(used)) = (field(5), field(6)) else { return Vec::new() };
    let Some(strings) = bytes.get(offset..offset.saturating_add(used)) else { return Vec::new() };
    strings
        .split(|byte| *byte == 0)
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|name| !name.is_empty() && name.is_ascii())
        .map(str::to_owned)
        .collect()
}

/// Whether two names mean the same locale: `C.UTF-8` is `C.utf8`.
pub(super) fn same(one: &str, other: &str) -> bool {
    normal(one) == normal(other)
}

fn normal(name: &str) -> String {
    match name.split_once('.') {
        Some((language, codeset)) => {
            let codeset: String = codeset
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .map(|character| character.to_ascii_lowercase())
                .collect();
            format!("{language}.{codeset}")
        }
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codesets_are_compared_without_spelling() {
        assert!(same("C.UTF-8", "C.utf8"));
        assert!(same("en_US.ISO-8859-1", "en_US.iso88591"));
        assert!(!same("en_US", "en_US.utf8"));
        assert!(!same("de_DE.utf8", "en_US.utf8"));
    }

    #[test]
    fn the_built_in_ones_are_always_there() {
        assert!(installed().iter().any(|name| name == "C"));
    }
}
