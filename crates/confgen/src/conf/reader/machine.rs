//! The reader itself: httpd's walk over lines, with its three ways to look at them (in effect, skipped, kept for a macro).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::condition::{CONDITIONS, Truth, World};
use super::macros::Macro;
use super::variables::{self, Defines};
use super::{Facts, Node, Place, Reading, Refusal, RefusalKind, Source, files};
use crate::conf::line;
use crate::conf::word;

/// httpd's limit of nested `Include`s.
const INCLUDES: usize = 128;

/// Conditions that may nest; httpd has no limit but its stack.
const NESTING: usize = 500;

type Result<T> = std::result::Result<T, Box<Refusal>>;

/// Modules that `<IfModule>` finds.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Names in `LoadModule`.
    names: Vec<String>,
    /// Names of source files.
    sources: Vec<String>,
}

impl Loaded {
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.names.iter().chain(&self.sources).any(|known| known.as_bytes() == name)
    }

    fn load(&mut self, name: &[u8], file: &[u8]) {
        let name = String::from_utf8_lossy(name).into_owned();
        self.sources.push(source_file(&name, file));
        self.names.push(name);
    }
}

/// The source file that a module calls itself by: `mod_NAME.c` but for a few.
fn source_file(name: &str, file: &[u8]) -> String {
    let short = name.strip_suffix("_module").unwrap_or(name);
    match short {
        "mpm_event" | "mpm_worker" | "mpm_prefork" => format!("{}.c", &short[4..]),
        "php" | "php5" | "php7" => format!("mod_{short}.c"),
        "wsgi" => "mod_wsgi.c".to_owned(),
        _ => {
            let file = Path::new(OsStr::from_bytes(file)).file_stem().unwrap_or_default().to_string_lossy();
            if file.starts_with("mod_") { format!("{file}.c") } else { format!("mod_{short}.c") }
        }
    }
}

pub(super) struct Machine<'f> {
    facts: &'f Facts,
    server_root: PathBuf,
    /// A folder and the one that stands for it.
    moved: Option<(PathBuf, PathBuf)>,
    defines: Defines,
    loaded: Loaded,
    macros: BTreeMap<String, Macro>,
    reading: Reading,
    /// The files (and macros) being read, each with the line that it has come to.
    stack: Vec<(usize, usize)>,
    /// Conditions around the current line, and those of them that are open.
    nesting: usize,
    open: usize,
    /// What httpd finds only after it has read everything.
    late: Option<Box<Refusal>>,
}

/// A line that says something.
struct Statement {
    place: Place,
    /// Its first word, with `<`.
    name: Vec<u8>,
    /// What follows the first word.
    rest: Vec<u8>,
}

impl Statement {
    /// The name of a section without `<` and `>`, in lower case.
    fn section(&self) -> String {
        let name = self.name.strip_prefix(b"<").unwrap_or(&self.name);
        String::from_utf8_lossy(name.strip_suffix(b">").unwrap_or(name)).to_lowercase()
    }

    /// The arguments of a section; `None` without a closing `>`.
    fn section_arguments(&self) -> Option<&[u8]> {
        if self.name.ends_with(b">") {
            return Some(&[]);
        }
        let end = self.rest.iter().rposition(|byte| *byte == b'>')?;
        Some(self.rest[..end].trim_ascii())
    }
}

fn words_of(text: &[u8]) -> Vec<Vec<u8>> {
    word::words(text, 0).map(|word| word.value).collect()
}

impl<'f> Machine<'f> {
    pub(super) fn new(facts: &'f Facts) -> Self {
        let mut defines = Defines::default();
        for name in &facts.defines {
            defines.set(name, None);
        }
        Self {
            facts,
            server_root: facts.server_root.clone(),
            moved: None,
            defines,
            loaded: Loaded { names: Vec::new(), sources: facts.built_in.clone() },
            macros: BTreeMap::new(),
            reading: Reading::default(),
            stack: Vec::new(),
            nesting: 0,
            open: 0,
            late: None,
        }
    }

    pub(super) fn run(mut self, main: &Path, bytes: Vec<u8>) -> Reading {
        let mut nodes = Vec::new();
        let refusal = self.source(main.to_owned(), bytes, &mut nodes).err().or(self.late.take());
        self.reading.nodes = nodes;
        self.reading.refusal = refusal.map(|refusal| *refusal);
        self.reading.modules = self.loaded.names;
        self.reading
    }

    /// Reads a text from its beginning to its end. What could be read stands in `nodes`, also after an error.
    fn source(&mut self, path: PathBuf, bytes: Vec<u8>, nodes: &mut Vec<Node>) -> Result<()> {
        let lines = line::lines(&bytes);
        self.reading.sources.push(Source { path, bytes, lines });
        self.stack.push((self.reading.sources.len() - 1, 0));
        let outcome = self.block(None, nodes);
        self.stack.pop();
        outcome
    }

    /// The next line that says something, of the text that is being read.
    fn next(&mut self) -> Option<Statement> {
        loop {
            let (source, at) = self.stack.last_mut()?;
            let place = Place { source: *source, line: *at };
            let line = self.reading.sources.get(*source)?.lines.get(*at)?;
            *at += 1;
            if line.is_comment() {
                continue;
            }
            if let Some(first) = word::next(line.text(), 0)
                && !first.value.is_empty()
            {
                let rest = line.text()[first.span.end..].trim_ascii().to_vec();
                return Some(Statement { place, name: first.value, rest });
            }
        }
    }

    fn text(&self, place: Place) -> &[u8] {
        self.reading
            .sources
            .get(place.source)
            .and_then(|source| source.lines.get(place.line))
            .map_or(&[], line::Line::text)
    }

    fn refuse<T>(&self, place: Place, kind: RefusalKind) -> Result<T> {
        Err(self.refusal(place, kind))
    }

    fn refusal(&self, place: Place, kind: RefusalKind) -> Box<Refusal> {
        let named = |place: Place| {
            let source = &self.reading.sources[place.source];
            (source.path.clone(), source.lines.get(place.line).map_or(0, |line| line.number))
        };
        let outer = self.stack.len().saturating_sub(1);
        let mut places: Vec<(PathBuf, usize)> = self.stack[..outer]
            .iter()
            .map(|(source, next)| named(Place { source: *source, line: next.saturating_sub(1) }))
            .collect();
        places.push(named(place));
        Box::new(Refusal { places, kind })
    }

    /// Lines that are in effect, up to the end of the text or of the condition that they stand in.
    fn block(&mut self, condition: Option<&str>, nodes: &mut Vec<Node>) -> Result<()> {
        let mut sections: Vec<Node> = Vec::new();
        let outcome = self.statements(condition, nodes, &mut sections);
        // An error leaves sections open: what they hold was read all the same.
        while let Some(section) = sections.pop() {
            append(nodes, &mut sections, section);
        }
        outcome
    }

    fn statements(&mut self, condition: Option<&str>, nodes: &mut Vec<Node>, sections: &mut Vec<Node>) -> Result<()> {
        while let Some(statement) = self.next() {
            // The end of a condition that holds is recognised by its whole line.
            if let Some(condition) = condition
                && sections.is_empty()
                && self.text(statement.place).eq_ignore_ascii_case(format!("</{condition}>").as_bytes())
            {
                return Ok(());
            }
            if let Some(name) = statement.name.strip_prefix(b"</") {
                let section = self.end(&statement, name, sections)?;
                append(nodes, sections, section);
            } else if statement.name.starts_with(b"<") {
                self.begin(&statement, nodes, sections)?;
            } else {
                let mut made = Vec::new();
                let outcome = self.directive(&statement, &mut made);
                for node in made {
                    append(nodes, sections, node);
                }
                outcome?;
            }
        }
        match sections.first() {
            // httpd does not miss the end of a condition that holds, nor of what stands open within.
            Some(outermost) if condition.is_none() => {
                self.refuse(outermost.place, RefusalKind::Unclosed(outermost.name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// The end of a section.
    fn end(&mut self, statement: &Statement, name: &[u8], sections: &mut Vec<Node>) -> Result<Node> {
        let shown = String::from_utf8_lossy(name.strip_suffix(b">").unwrap_or(name)).into_owned();
        let Some(open) = sections.pop() else { return self.refuse(statement.place, RefusalKind::StrayEnd(shown)) };
        if !name.ends_with(b">") {
            return self.refuse(statement.place, RefusalKind::NoBracket(format!("/{shown}")));
        }
        if !open.name.eq_ignore_ascii_case(&shown) {
            return self.refuse(statement.place, RefusalKind::OtherEnd { expected: open.name, found: shown });
        }
        Ok(open)
    }

    fn begin(&mut self, statement: &Statement, nodes: &mut Vec<Node>, sections: &mut Vec<Node>) -> Result<()> {
        let section = statement.section();
        if section == "macro" {
            return self.define_macro(statement);
        }
        if CONDITIONS.contains(&section.as_str()) {
            let mut made = Vec::new();
            let outcome = self.conditional(statement, &section, &mut made);
            for node in made {
                append(nodes, sections, node);
            }
            return outcome;
        }
        let arguments = statement.section_arguments();
        if arguments.is_none() && self.late.is_none() {
            self.late = Some(self.refusal(statement.place, RefusalKind::NoBracket(section)));
        }
        let raw = arguments.unwrap_or(&statement.rest).to_vec();
        let name = statement.name.strip_prefix(b"<").unwrap_or(&statement.name);
        let name = name.strip_suffix(b">").unwrap_or(name);
        let mut node = self.node(statement.place, name, &raw);
        node.children = Some(Vec::new());
        sections.push(node);
        Ok(())
    }

    fn node(&mut self, place: Place, name: &[u8], raw: &[u8]) -> Node {
        let words = words_of(raw).iter().map(|word| self.resolve(place, word)).collect();
        let arguments = self.resolve(place, raw);
        let name = String::from_utf8_lossy(name).into_owned();
        Node { place, name, arguments, words, children: None, open: self.open > 0 }
    }

    fn resolve(&mut self, place: Place, text: &[u8]) -> Vec<u8> {
        let (defines, environment) = (&self.defines, &self.facts.environment);
        let lookup = |name: &[u8]| defines.value(name).or_else(|| environment.get(name).map(Vec::as_slice));
        let undefined = &mut self.reading.undefined;
        variables::resolve(text, lookup, |name| {
            let entry = (place, String::from_utf8_lossy(name).into_owned());
            if undefined.last() != Some(&entry) {
                undefined.push(entry);
            }
        })
    }

    fn conditional(&mut self, statement: &Statement, section: &str, nodes: &mut Vec<Node>) -> Result<()> {
        let Some(raw) = statement.section_arguments().map(<[u8]>::to_vec) else {
            return self.refuse(statement.place, RefusalKind::NoBracket(section.to_owned()));
        };
        let words: Vec<Vec<u8>> = words_of(&raw).iter().map(|word| self.resolve(statement.place, word)).collect();
        if words.first().is_none_or(|word| word.is_empty() || word == b"!") && words.len() < 2 {
            let takes = "an argument";
            return self.refuse(statement.place, RefusalKind::Arguments { name: format!("<{section}>"), takes });
        }
        let world =
            World { facts: self.facts, defines: &self.defines, loaded: &self.loaded, server_root: &self.server_root };
        let truth = world.evaluate(section, &words);
        if truth == Truth::No {
            return self.skip(statement.place, section);
        }
        if self.nesting == NESTING {
            return self.refuse(statement.place, RefusalKind::Depth(NESTING));
        }
        self.nesting += 1;
        self.open += usize::from(truth == Truth::Open);
        let outcome = self.block(Some(section), nodes);
        self.open -= usize::from(truth == Truth::Open);
        self.nesting -= 1;
        outcome
    }

    /// Passes over a condition that does not hold: only sections are looked at. httpd names the line of the condition in
    /// whatever is wrong within.
    fn skip(&mut self, condition: Place, section: &str) -> Result<()> {
        let mut open = vec![section.to_owned()];
        while let Some(statement) = self.next() {
            let Some(expected) = open.last() else { break };
            if let Some(end) = statement.name.strip_prefix(b"</") {
                // httpd takes the last character for the `>`, whatever it is.
                let end = end.split_last().map_or(&[][..], |(_, name)| name);
                let found = String::from_utf8_lossy(end).into_owned();
                if !found.eq_ignore_ascii_case(expected) {
                    return self.refuse(condition, RefusalKind::OtherEnd { expected: expected.clone(), found });
                }
                open.pop();
                if open.is_empty() {
                    return Ok(());
                }
            } else if statement.name.starts_with(b"<") {
                open.push(statement.section());
            }
        }
        self.refuse(condition, RefusalKind::Unclosed(open.pop().unwrap_or_default()))
    }

    fn directive(&mut self, statement: &Statement, nodes: &mut Vec<Node>) -> Result<()> {
        let node = self.node(statement.place, &statement.name, &statement.rest);
        let name = node.name.to_lowercase();
        let words = node.words.clone();
        let wrong = |machine: &Self, takes| {
            machine.refuse(statement.place, RefusalKind::Arguments { name: node.name.clone(), takes })
        };
        match (name.as_str(), words.as_slice()) {
            ("include" | "includeoptional", [path]) => {
                return self.include(statement.place, path, name == "includeoptional", nodes);
            }
            ("include" | "includeoptional", _) => return wrong(self, "one path"),
            ("define", [name] | [name, _]) => {
                if name.contains(&b':') {
                    return self.refuse(statement.place, RefusalKind::Colon);
                }
                self.defines.set(name, words.get(1).cloned());
            }
            ("define", _) => return wrong(self, "a name and perhaps a value"),
            ("undefine", [name]) => self.defines.unset(name),
            ("undefine", _) => return wrong(self, "one name"),
            ("loadmodule", [name, file]) => self.loaded.load(name, file),
            ("loadmodule", _) => return wrong(self, "a module's name and its file"),
            ("serverroot", [path]) => {
                let path = PathBuf::from(OsStr::from_bytes(path));
                match &self.facts.relocated {
                    Some(folder) => {
                        self.server_root.clone_from(folder);
                        self.moved = Some((path, folder.clone()));
                    }
                    None => self.server_root = path,
                }
            }
            ("use", _) => return self.use_macro(statement, &words, nodes),
            _ => {}
        }
        nodes.push(node);
        Ok(())
    }

    fn include(&mut self, place: Place, path: &[u8], optional: bool, nodes: &mut Vec<Node>) -> Result<()> {
        let mut path = self.server_root.join(OsStr::from_bytes(path));
        if let Some((from, to)) = &self.moved
            && let Ok(rest) = path.strip_prefix(from)
        {
            path = to.join(rest);
        }
        let found = match files::matching(&path, optional) {
            // Another part of the configuration may be on another machine.
            Ok(found) if self.facts.partial && found.iter().any(|file| !file.exists()) => {
                self.reading.missing.push((place, path.display().to_string()));
                return Ok(());
            }
            Ok(found) => found,
            Err(reason) if self.facts.partial => {
                self.reading.missing.push((place, reason));
                return Ok(());
            }
            Err(reason) => return self.refuse(place, RefusalKind::Include(reason)),
        };
        for file in found {
            let within = self.stack.iter().any(|(source, _)| self.reading.sources[*source].path == file);
            if within || self.stack.len() > INCLUDES {
                return self.refuse(place, RefusalKind::Depth(INCLUDES));
            }
            let bytes = match files::read(&file) {
                Ok(bytes) => bytes,
                Err(error) => return self.refuse(place, RefusalKind::Include(error.to_string())),
            };
            self.source(file, bytes, nodes)?;
        }
        Ok(())
    }

    fn define_macro(&mut self, statement: &Statement) -> Result<()> {
        let Some(raw) = statement.section_arguments().map(<[u8]>::to_vec) else {
            return self.refuse(statement.place, RefusalKind::NoBracket("Macro".to_owned()));
        };
        let mut words = words_of(&raw).into_iter();
        let Some(name) = words.next().filter(|name| !name.is_empty()) else {
            return self
                .refuse(statement.place, RefusalKind::Arguments { name: "<Macro>".to_owned(), takes: "a name" });
        };
        let mut lines = Vec::new();
        let mut depth = 1_usize;
        while let Some(inner) = self.next() {
            if inner.name.eq_ignore_ascii_case(b"</macro>") {
                depth -= 1;
                if depth == 0 {
                    let name = String::from_utf8_lossy(&name).to_lowercase();
                    self.macros.insert(name, Macro { parameters: words.collect(), lines });
                    return Ok(());
                }
            } else if inner.name.starts_with(b"<") && inner.section() == "macro" {
                depth += 1;
            }
            lines.push(self.text(inner.place).to_vec());
        }
        self.refuse(statement.place, RefusalKind::Unclosed("Macro".to_owned()))
    }

    fn use_macro(&mut self, statement: &Statement, words: &[Vec<u8>], nodes: &mut Vec<Node>) -> Result<()> {
        let Some((name, arguments)) = words.split_first() else {
            return self.refuse(statement.place, RefusalKind::Macro("`Use` names no macro".to_owned()));
        };
        let name = String::from_utf8_lossy(name).to_lowercase();
        let Some(found) = self.macros.get(&name) else {
            if self.facts.partial {
                return Ok(());
            }
            return self.refuse(statement.place, RefusalKind::Macro(format!("unknown macro `{name}`")));
        };
        if found.parameters.len() != arguments.len() {
            let (wanted, given) = (found.parameters.len(), arguments.len());
            let message = format!("the macro `{name}` takes {wanted} arguments, got {given}");
            return self.refuse(statement.place, RefusalKind::Macro(message));
        }
        let text = found.expand(arguments);
        if self.stack.len() > INCLUDES {
            return self.refuse(statement.place, RefusalKind::Depth(INCLUDES));
        }
        self.source(PathBuf::from(format!("macro {name}")), text, nodes)
    }
}

/// Adds a node to the innermost open section.
fn append(nodes: &mut Vec<Node>, sections: &mut [Node], node: Node) {
    match sections.last_mut().and_then(|section| section.children.as_mut()) {
        Some(children) => children.push(node),
        None => nodes.push(node),
    }
}
