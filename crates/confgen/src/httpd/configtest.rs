//! `httpd -t`, with its complaints taken apart.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::command;
use super::log::{Level, LogLine};

/// How bad a complaint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// httpd would not start.
    Error,
    /// httpd would start.
    Warning,
}

/// One thing httpd said about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// How bad it is.
    pub severity: Severity,
    /// httpd's stable code, for example `AH00526`.
    pub code: Option<String>,
    /// The file it is about; with nested includes the innermost one.
    pub file: Option<PathBuf>,
    /// The line of that file.
    pub line: Option<usize>,
    /// The text, without code and position.
    pub message: String,
}

/// A configuration to be tested.
#[derive(Debug, Clone, Copy)]
pub struct ConfigTest<'a> {
    /// The binary.
    pub binary: &'a Path,
    /// The server root.
    pub root: &'a Path,
    /// The configuration file.
    pub config: &'a Path,
    /// The environment it would be started with.
    pub environment: &'a BTreeMap<String, String>,
}

/// Why a configuration does not stand.
#[derive(Debug, thiserror::Error)]
pub enum ConfigTestError {
    /// httpd could not be run.
    #[error("cannot run {}: {cause}", .binary.display())]
    Run {
        /// The binary.
        binary: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// httpd refused.
    #[error("httpd refused the configuration: {}", .complaints.iter().map(|complaint| complaint.message.as_str()).collect::<Vec<_>>().join("; "))]
    Refused {
        /// Why, in httpd's words.
        complaints: Vec<Complaint>,
        /// All that httpd printed.
        output: String,
    },
}

impl ConfigTest<'_> {
    /// Lets httpd read the configuration; returns its warnings.
    pub fn run(&self) -> Result<Vec<Complaint>, ConfigTestError> {
        let output = command::httpd(self.binary)
            .arg("-t")
            .arg("-d")
            .arg(self.root)
            .arg("-f")
            .arg(self.config)
            .envs(self.environment)
            .output()
            .map_err(|cause| ConfigTestError::Run { binary: self.binary.to_owned(), cause })?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let mut complaints = complaints(&text);
        if output.status.success() {
            for complaint in &mut complaints {
                complaint.severity = Severity::Warning;
            }
            return Ok(complaints);
        }
        if complaints.iter().all(|complaint| complaint.severity == Severity::Warning) {
            let message = text
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .map_or_else(|| format!("httpd ended with {}", output.status), str::to_owned);
            complaints.push(Complaint { severity: Severity::Error, code: None, file: None, line: None, message });
        }
        Err(ConfigTestError::Refused { complaints, output: text })
    }
}

/// Takes apart what httpd prints about a configuration, at `-t` or when a start fails.
pub(super) fn complaints(output: &str) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = Vec::new();
    let mut lines = output.lines().map(str::trim_end).filter(|line| !line.is_empty()).peekable();
    while let Some(raw) = lines.next() {
        if matches!(raw, "Syntax OK" | "Action '-t' failed." | "The Apache error log may have more information.") {
            continue;
        }
        let line = LogLine::parse(raw);
        let mut text = line.message.as_str();
        if let Some(code) = &line.code {
            text = text.split_once(&format!("{code}: ")).map_or(text, |(_, rest)| rest);
        }
        let mut severity = match line.level {
            Some(level) if level > Level::Warn => continue,
            Some(Level::Warn) => Severity::Warning,
            _ => Severity::Error,
        };
        if let Some(rest) = text.strip_prefix("Warning: ").or_else(|| text.strip_prefix("Warning ")) {
            severity = Severity::Warning;
            text = rest;
        }
        let (file, number, rest) = position(text);
        let mut message = rest.trim().to_owned();
        if file.is_some() && message.is_empty() {
            // `Syntax error on line N of FILE:` puts the cause on the next line.
            message = lines.next().unwrap_or_default().trim().to_owned();
            let nested = position(&message);
            if nested.0.is_some() {
                message = nested.2.trim().to_owned();
            }
        }
        found.push(Complaint { severity, code: line.code.clone(), file, line: number, message });
    }
    found
}

/// Splits `[program: ]Syntax error on line N of FILE:[ rest]`, following includes to the innermost file.
fn position(text: &str) -> (Option<PathBuf>, Option<usize>, &str) {
    const MARK: &str = "Syntax error on line ";
    let (mut file, mut number, mut rest) = (None, None, text);
    // The mark stands at the start, but for the program's name.
    while let Some(start) =
        rest.find(MARK).filter(|start| !rest[..*start].contains(' ') || rest[..*start].ends_with(": "))
    {
        let Some((line, after)) = rest[start + MARK.len()..].split_once(" of ") else { break };
        let Ok(line) = line.parse() else { break };
        let (path, after) = after.split_once(": ").unwrap_or((after.trim_end_matches(':'), ""));
        file = Some(PathBuf::from(path));
        number = Some(line);
        rest = after;
    }
    if file.is_none() {
        // `… defined at FILE:N` and `… (FILE:N)` are how post-config messages name a place.
        if let Some((_, place)) = text.rsplit_once(" at ").or_else(|| text.rsplit_once('('))
            && let Some((path, line)) = place.trim_end_matches([')', '.']).rsplit_once(':')
            && path.starts_with('/')
            && let Ok(line) = line.parse()
        {
            return (Some(PathBuf::from(path)), Some(line), text);
        }
    }
    (file, number, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(output: &str) -> Complaint {
        let mut found = complaints(output);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn the_usual_form_has_the_cause_on_the_next_line() {
        let complaint = one(
            "AH00526: Syntax error on line 3 of /etc/x/httpd.conf:\nInvalid command 'Foo', perhaps misspelled or defined by a module not included in the server configuration\nAction '-t' failed.\nThe Apache error log may have more information.\n",
        );
        assert_eq!((complaint.code.as_deref(), complaint.line), (Some("AH00526"), Some(3)));
        assert_eq!(complaint.file.as_deref(), Some(Path::new("/etc/x/httpd.conf")));
        assert!(complaint.message.starts_with("Invalid command 'Foo'"));
        assert_eq!(complaint.severity, Severity::Error);
    }

    #[test]
    fn load_module_and_includes_have_it_on_the_same_line() {
        let complaint = one(
            "apache2: Syntax error on line 5 of /x/httpd.conf: Cannot load /m/none.so into server: /m/none.so: cannot open shared object file: No such file or directory\n",
        );
        assert_eq!((complaint.line, complaint.code), (Some(5), None));
        assert!(complaint.message.starts_with("Cannot load /m/none.so into server"), "{}", complaint.message);
        let complaint = one(
            "apache2: Syntax error on line 2 of /x/httpd.conf: Syntax error on line 7 of /x/sites.conf: </VirtualHost> without matching <VirtualHost> section\n",
        );
        assert_eq!((complaint.file.as_deref(), complaint.line), (Some(Path::new("/x/sites.conf")), Some(7)));
        assert!(complaint.message.starts_with("</VirtualHost>"));
    }

    #[test]
    fn messages_without_a_place_and_warnings() {
        let complaint = one("AH00534: apache2: Configuration error: No MPM loaded.\n");
        assert_eq!(
            (complaint.code.as_deref(), complaint.file, complaint.message.as_str()),
            (Some("AH00534"), None, "apache2: Configuration error: No MPM loaded.")
        );
        let complaint = one("AH00112: Warning: DocumentRoot [/none] does not exist\nSyntax OK\n");
        assert_eq!(
            (complaint.severity, complaint.message.as_str()),
            (Severity::Warning, "DocumentRoot [/none] does not exist")
        );
        let complaint = one(
            "(2)No such file or directory: AH02291: Cannot access directory '/none/' for error log of vhost defined at /x/httpd.conf:12\n",
        );
        assert_eq!((complaint.code.as_deref(), complaint.line), (Some("AH02291"), Some(12)));
    }

    #[test]
    fn lines_below_a_warning_are_no_complaints() {
        assert!(
            complaints("[Sat Nov 21 02:29:50.1 2026] [so:info] [pid 1:tid 1] AH01575: loaded module x\nSyntax OK\n")
                .is_empty()
        );
    }
}
