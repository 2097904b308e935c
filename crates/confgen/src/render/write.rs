//! Writing a tree: all of it or nothing, and only over what confgen wrote itself.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::beneath::{Entry, Failed, Folder};
use super::manifest::{
    FINGERPRINTS, Found, Listed, MANIFEST, Manifest, SECRETS, fingerprints, hash, is_ours, read_fingerprints,
};
use super::secrets::{missing, push_variable, value};
use super::territory::{self, io};
use super::tree::{Content, File, SecretLine, Tree};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Node;
use crate::environment::Environment;
use crate::httpd::LOGS_MODE;
use crate::spec::{SecretTime, Spec};

/// Permissions of a folder that everybody may look into.
const OPEN_FOLDER: u32 = 0o755;

/// How a tree is written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Whether files that were edited by hand are overwritten.
    pub force: bool,
    /// Whether a directory is taken over that confgen did not make, or files in the way of the tree's own.
    pub adopt: bool,
    /// With `adopt`: whether that may be a folder of the system.
    pub system_folder: bool,
    /// Whether all applications and secrets of the tree before may go.
    pub prune: bool,
    /// What becomes of secrets.
    pub secrets: Secrets,
    /// The environment that secrets may come from.
    pub environment: Environment,
}

/// What becomes of secrets when a tree is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// Those that are taken at rendering are taken from where the spec says.
    #[default]
    Take,
    /// All are taken, as the server is started from the tree.
    TakeAll,
    /// They stay there; variables get no value. For a tree that is only to be looked at by httpd.
    Blank,
    /// They are filled in later, by [`fill_secrets`] on the machine that the tree is for. Files that are there stay.
    Later,
}

/// What writing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that are new or differ.
    pub changed: Vec<String>,
    /// Files that were as they should be.
    pub unchanged: Vec<String>,
    /// Files of the previous tree that are gone.
    pub removed: Vec<String>,
    /// Files with secrets that are still to be filled in.
    pub later: Vec<String>,
    /// Files with secrets that are made when the server starts.
    pub at_start: Vec<String>,
}

impl Written {
    /// What was done, a line for each file.
    pub fn to_text(&self, directory: &Path) -> String {
        let mut text = String::new();
        for (what, files) in [
            ("wrote", &self.changed),
            ("unchanged", &self.unchanged),
            ("removed", &self.removed),
            ("later", &self.later),
            ("at start", &self.at_start),
        ] {
            for file in files {
                text += &format!("{what:<10}{}\n", directory.join(file).display());
            }
        }
        if !self.at_start.is_empty() {
            text += "secrets are taken when the server starts, and again when it reloads, by the script `ctl` of the tree\n";
        }
        if !self.later.is_empty() {
            text += "`confgen secrets DIR` on the machine that the tree is for fills in the secrets\n";
        }
        text
    }
}

/// A file with its bytes.
pub(super) struct Wanted<'a> {
    pub(super) path: &'a str,
    pub(super) mode: u32,
    pub(super) secret: bool,
    pub(super) bytes: Vec<u8>,
}

impl Tree {
    /// Writes the tree to its server root: nothing is touched unless all of it can be made, and a file that is as it should be
    /// is not touched at all.
    ///
    /// # Errors
    /// When the directory is not confgen's, a secret cannot be taken, a file was edited by hand, or the system refuses to write.
    pub fn write(&self, options: &WriteOptions) -> Result<Written, Vec<Diagnostic>> {
        self.write_to(&self.server_root, options)
    }

    /// The same, to another directory.
    ///
    /// # Errors
    /// As [`Tree::write`].
    pub fn write_to(&self, directory: &Path, options: &WriteOptions) -> Result<Written, Vec<Diagnostic>> {
        let wanted = self.wanted(options)?;
        territory::ensure_ours(directory, options)?;
        let mut made = MadeFolders::default();
        let root = Rc::new(open_root(directory, &mut made).map_err(io)?);
        root.lock().map_err(io)?;
        // What was found before the folder was open may have changed.
        territory::ensure_trusted(&root, options)?;
        let previous = territory::previous(&root, options)?;
        let mut write = Write::new(root, made);
        let written = self.write_beneath(&mut write, previous.as_ref(), &wanted, options)?;
        write.keep();
        Ok(written)
    }

    fn write_beneath(
        &self,
        write: &mut Write,
        previous: Option<&Manifest>,
        wanted: &[Wanted<'_>],
        options: &WriteOptions,
    ) -> Result<Written, Vec<Diagnostic>> {
        let mut refused = Vec::new();
        let known = read_fingerprints(&write.root).map_err(io)?;
        for (path, listed) in previous.iter().flat_map(|previous| &previous.files) {
            let Some(expected) = listed.sha256.as_ref().or_else(|| known.get(path)) else { continue };
            let Some(bytes) = write.read(path)? else { continue };
            let same = wanted.iter().any(|file| file.path == path && file.bytes == bytes);
            if !options.force && hash(&bytes) != *expected && !same {
                refused.push(edited(&write.root.path().join(path)));
            }
        }
        for file in wanted {
            let listed = previous.is_some_and(|previous| previous.files.contains_key(file.path));
            if !listed && !options.adopt && write.read(file.path)?.is_some_and(|bytes| bytes != file.bytes) {
                refused.push(in_the_way(&write.root.path().join(file.path)));
            }
        }
        let gone: Vec<&str> = previous
            .iter()
            .flat_map(|previous| previous.files.keys())
            .map(String::as_str)
            .filter(|path| !self.files.iter().any(|file| file.path == *path))
            .collect();
        let of_applications = |path: &str| path.contains('/') && !path.starts_with("health/");
        if !options.prune
            && gone.iter().any(|path| of_applications(path))
            && !self.files.iter().any(|file| of_applications(&file.path))
        {
            refused.push(nothing_left(write.root.path(), &gone));
        }
        if !refused.is_empty() {
            return Err(refused);
        }
        write.ensure_folder_of_server("logs", if self.world_readable_logs { OPEN_FOLDER } else { LOGS_MODE })?;
        write.ensure_folder_of_server("run", OPEN_FOLDER)?;
        let mut written = Written::default();
        let mut manifest = Manifest::new(hash_of_node(&self.root), self.environment.clone());
        let mut secrets = BTreeMap::new();
        for file in wanted {
            match write.stage(file)? {
                true => written.changed.push(file.path.to_owned()),
                false => written.unchanged.push(file.path.to_owned()),
            }
            let sum = hash(&file.bytes);
            let sha256 = (!file.secret).then(|| sum.clone());
            // What is made at each start may differ from what was written before, and nobody has edited it.
            if file.secret && !self.is_made_at_start(file.path) {
                secrets.insert(file.path.to_owned(), sum);
            }
            manifest.files.insert(file.path.to_owned(), Listed { mode: format!("{:04o}", file.mode), sha256 });
        }
        for file in &self.files {
            let Content::Secrets { lines, at } = &file.content else { continue };
            manifest.list_secrets(&file.path, lines, *at);
            let listed = manifest.files.contains_key(&file.path);
            if *at == SecretTime::Start && !listed {
                manifest.files.insert(file.path.clone(), Listed { mode: format!("{:04o}", file.mode), sha256: None });
                // A value that was taken at a rendering before does not stay.
                if known.contains_key(&file.path) {
                    write.stage_removal(&file.path)?;
                }
                written.at_start.push(file.path.clone());
            } else if !listed {
                manifest.files.insert(file.path.clone(), Listed { mode: format!("{:04o}", file.mode), sha256: None });
                secrets.extend(known.get_key_value(&file.path).map(|(path, sum)| (path.clone(), sum.clone())));
                written.later.push(file.path.clone());
            }
        }
        if !secrets.is_empty() {
            let bytes = fingerprints(&secrets);
            write.stage(&Wanted { path: FINGERPRINTS, mode: 0o600, secret: true, bytes })?;
        }
        for path in gone {
            if write.stage_removal(path)? {
                written.removed.push(path.to_owned());
            }
        }
        if secrets.is_empty() && !known.is_empty() {
            write.stage_removal(FINGERPRINTS)?;
        }
        write.stage(&Wanted { path: MANIFEST, mode: 0o644, secret: false, bytes: manifest.to_bytes() })?;
        write.commit()?;
        Ok(written)
    }

    /// The bytes of every file.
    fn wanted(&self, options: &WriteOptions) -> Result<Vec<Wanted<'_>>, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let mut wanted = Vec::new();
        for File { path, mode, content } in &self.files {
            let bytes = match content {
                Content::Text { text, .. } => text.clone().into_bytes(),
                Content::Secrets { at, .. } if is_left_out(*at, options.secrets) => continue,
                Content::Secrets { lines, .. } => {
                    let mut bytes = Vec::new();
                    for line in lines {
                        let taken = match options.secrets {
                            Secrets::Take | Secrets::TakeAll => value(&line.source, &options.environment),
                            Secrets::Blank | Secrets::Later => Ok(Vec::new()),
                        };
                        match taken {
                            Ok(value) => push_variable(&mut bytes, &line.name, &value),
                            Err(reason) => errors.push(self.secret_error(line, &reason)),
                        }
                    }
                    bytes
                }
            };
            debug_assert!(is_ours(path), "{path} would not be known again");
            wanted.push(Wanted { path, mode: *mode, secret: matches!(content, Content::Secrets { .. }), bytes });
        }
        if errors.is_empty() { Ok(wanted) } else { Err(errors) }
    }

    fn is_made_at_start(&self, path: &str) -> bool {
        let content = self.file(path).map(|file| &file.content);
        matches!(content, Some(Content::Secrets { at: SecretTime::Start, .. }))
    }

    /// Tries to take every secret that writing would take.
    pub fn secrets_that_fail(&self, environment: &Environment) -> Vec<Diagnostic> {
        let lines = self.files.iter().filter_map(|file| match &file.content {
            Content::Secrets { lines, at: SecretTime::Render } => Some(lines),
            Content::Secrets { .. } | Content::Text { .. } => None,
        });
        lines
            .flatten()
            .filter_map(|line| value(&line.source, environment).err().map(|reason| self.secret_error(line, &reason)))
            .collect()
    }

    fn secret_error(&self, line: &SecretLine, reason: &str) -> Diagnostic {
        missing(&line.name, reason).at(line.key.span(&self.root), "")
    }
}

/// Whether a file with secrets is not written.
fn is_left_out(at: SecretTime, secrets: Secrets) -> bool {
    match secrets {
        Secrets::Take => at == SecretTime::Start,
        Secrets::TakeAll | Secrets::Blank => false,
        Secrets::Later => true,
    }
}

/// The hash by which a tree knows its spec.
pub fn hash_of(spec: &Spec) -> String {
    hash_of_node(&spec.root)
}

fn hash_of_node(root: &Node) -> String {
    hash(root.to_json().to_string().as_bytes())
}

/// The hash of the spec that the tree in a directory was rendered from.
pub fn spec_hash_in(directory: &Path) -> Option<String> {
    match Manifest::read(&Folder::open(directory).ok()?) {
        Ok(Found::Ours(manifest)) => Some(manifest.spec),
        _ => None,
    }
}

pub(super) fn edited(path: &Path) -> Diagnostic {
    Diagnostic::error(Code::Edited, format!("{} was edited by hand", path.display()))
        .help("move the change into the spec (`raw`), or overwrite it with `confgen render SPEC -o DIR --force`")
}

fn in_the_way(path: &Path) -> Diagnostic {
    Diagnostic::error(Code::ForeignFolder, format!("{} exists, and confgen did not write it", path.display()))
        .help("move it away, or overwrite it with `confgen render SPEC -o DIR --adopt`")
}

fn nothing_left(directory: &Path, gone: &[&str]) -> Diagnostic {
    let message = format!("no application is left: {} would lose {}", directory.display(), gone.join(", "));
    Diagnostic::error(Code::NothingLeft, message)
        .help("check that this is the right spec and profile; `confgen render SPEC -o DIR --prune` removes them")
}

/// Folders that were made for a tree; they go again when it is not written.
#[derive(Default)]
pub(super) struct MadeFolders {
    paths: Vec<PathBuf>,
    beneath: Vec<(Rc<Folder>, OsString)>,
}

impl MadeFolders {
    fn keep(&mut self) {
        self.paths.clear();
        self.beneath.clear();
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        // Folders that are not empty stay; whoever put something there wants it.
        for (parent, name) in self.beneath.iter().rev() {
            let _ = parent.remove_folder(name);
        }
        for path in self.paths.iter().rev() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Opens the directory of a tree, which is made if need be.
fn open_root(directory: &Path, made: &mut MadeFolders) -> Result<Folder, Failed> {
    let failed = |error| Failed::new(directory, error);
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| fs::symlink_metadata(path).is_err()).collect();
    for path in missing.into_iter().rev() {
        match fs::create_dir(path) {
            Ok(()) => made.paths.push(path.to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(Failed::new(path, error)),
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    Folder::open(directory).map_err(failed)
}

/// A change that is prepared and not yet made.
struct Step {
    folder: Rc<Folder>,
    name: OsString,
    change: Change,
    done: bool,
}

enum Change {
    /// The file that stands under another name takes the place, of nothing or of a file.
    Put { fresh: OsString, replaces: bool },
    /// The file moves to another name, and goes in the end.
    Remove { aside: OsString },
    /// The file gets another mode.
    Mode { from: u32, to: u32 },
}

impl Step {
    fn run(&mut self) -> Result<(), Failed> {
        match &self.change {
            Change::Put { fresh, replaces: true } => match self.folder.exchange(fresh, &self.name) {
                // Some file systems cannot exchange names; there the file is replaced for good.
                Err(failed) if matches!(failed.error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                    self.folder.rename(fresh, &self.name)
                }
                other => other,
            },
            Change::Put { fresh, replaces: false } => self.folder.rename(fresh, &self.name),
            Change::Remove { aside } => self.folder.rename(&self.name, aside),
            Change::Mode { to, .. } => self.folder.set_file_mode(&self.name, *to),
        }?;
        self.done = true;
        Ok(())
    }

    fn undo(&mut self) {
        let undone = match &self.change {
            Change::Put { fresh, replaces: true } => self.folder.exchange(fresh, &self.name),
            Change::Put { fresh, replaces: false } => self.folder.rename(&self.name, fresh),
            Change::Remove { aside } => self.folder.rename(aside, &self.name),
            Change::Mode { from, .. } => self.folder.set_file_mode(&self.name, *from),
        };
        // What could not be undone stays where it is: nothing is deleted then.
        self.done = undone.is_err();
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        match &self.change {
            // The file that was replaced, or the one that was never put in place.
            Change::Put { fresh, .. } => drop(self.folder.remove(fresh)),
            Change::Remove { aside } if self.done => drop(self.folder.remove(aside)),
            Change::Remove { .. } | Change::Mode { .. } => {}
        }
    }
}

/// One writing.
pub(super) struct Write {
    pub(super) root: Rc<Folder>,
    folders: BTreeMap<String, Rc<Folder>>,
    steps: Vec<Step>,
    made: MadeFolders,
}

impl Write {
    pub(super) fn new(root: Rc<Folder>, made: MadeFolders) -> Self {
        Self { root, folders: BTreeMap::new(), steps: Vec::new(), made }
    }

    /// Keeps the folders that were made.
    pub(super) fn keep(&mut self) {
        self.made.keep();
    }

    /// The folder that a file is in, if it is there, and the file's name.
    fn folder(&mut self, path: &str) -> Result<(Option<Rc<Folder>>, OsString), Vec<Diagnostic>> {
        let Some((folder, name)) = path.split_once('/') else { return Ok((Some(Rc::clone(&self.root)), path.into())) };
        if let Some(known) = self.folders.get(folder) {
            return Ok((Some(Rc::clone(known)), name.into()));
        }
        let own = OsStr::new(folder);
        let Some(opened) = self.root.sub(own).map_err(io)? else { return Ok((None, name.into())) };
        let stat = opened.stat().map_err(io)?;
        self.ensure_owner(own, stat.st_uid)?;
        let opened = Rc::new(opened);
        self.folders.insert(folder.to_owned(), Rc::clone(&opened));
        Ok((Some(opened), name.into()))
    }

    fn ensure_owner(&self, name: &OsStr, owner: u32) -> Result<(), Vec<Diagnostic>> {
        if territory::is_trusted(owner) {
            return Ok(());
        }
        let path = self.root.path().join(name);
        let message = format!("{} belongs to another user ({})", path.display(), territory::user_name(owner));
        Err(vec![Diagnostic::error(Code::UnsafeFolder, message).help("remove it, or change its owner")])
    }

    pub(super) fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, Vec<Diagnostic>> {
        let (Some(folder), name) = self.folder(path)? else { return Ok(None) };
        folder.read(&name).map_err(io)
    }

    /// A folder that httpd writes to: made if it is missing. One's own link may stand for it.
    fn ensure_folder_of_server(&mut self, name: &str, mode: u32) -> Result<(), Vec<Diagnostic>> {
        let name = OsStr::new(name);
        if self.root.entry(name).map_err(io)?.is_some() {
            let owner = self.root.owner(name).map_err(io)?;
            self.ensure_owner(name, owner)?;
            // Of a folder that was there already, only what confgen itself chose is opened.
            if mode == OPEN_FOLDER
                && let Some(folder) = self.root.sub(name).map_err(io)?
                && folder.stat().map_err(io)?.st_mode & 0o7777 == LOGS_MODE
            {
                folder.set_mode(mode).map_err(io)?;
            }
            return Ok(());
        }
        self.root.make(name, mode).map_err(io)?;
        self.made.beneath.push((Rc::clone(&self.root), name.to_owned()));
        Ok(())
    }

    /// Writes a file beside its place, so that a disk that is full leaves the tree as it was. False for one that is as it
    /// should be.
    pub(super) fn stage(&mut self, file: &Wanted<'_>) -> Result<bool, Vec<Diagnostic>> {
        let existing = self.read(file.path)?;
        let (folder, name) = self.folder(file.path)?;
        let folder = match folder {
            Some(folder) => folder,
            None => self.make_folder(file.path, file.secret)?,
        };
        let entry = folder.entry(&name).map_err(io)?;
        if let (Some(Entry::File { mode }), Some(bytes)) = (entry, &existing)
            && *bytes == file.bytes
        {
            if mode != file.mode {
                let change = Change::Mode { from: mode, to: file.mode };
                self.steps.push(Step { folder, name, change, done: false });
            }
            return Ok(false);
        }
        let fresh = beside(&name, "new");
        folder.create(&fresh, &file.bytes, file.mode).map_err(io)?;
        let change = Change::Put { fresh, replaces: entry.is_some() };
        self.steps.push(Step { folder, name, change, done: false });
        Ok(true)
    }

    fn make_folder(&mut self, path: &str, secret: bool) -> Result<Rc<Folder>, Vec<Diagnostic>> {
        let folder = path.split_once('/').map_or(path, |(folder, _)| folder);
        let mode = if secret { 0o700 } else { 0o755 };
        let made = Rc::new(self.root.make(OsStr::new(folder), mode).map_err(io)?);
        self.made.beneath.push((Rc::clone(&self.root), folder.into()));
        self.folders.insert(folder.to_owned(), Rc::clone(&made));
        Ok(made)
    }

    /// Prepares the removal of a file. False when it is gone already.
    pub(super) fn stage_removal(&mut self, path: &str) -> Result<bool, Vec<Diagnostic>> {
        let (Some(folder), name) = self.folder(path)? else { return Ok(false) };
        if !matches!(folder.entry(&name).map_err(io)?, Some(Entry::File { .. })) {
            return Ok(false);
        }
        let aside = beside(&name, "old");
        self.steps.push(Step { folder, name, change: Change::Remove { aside }, done: false });
        Ok(true)
    }

    /// Makes all changes, or none.
    pub(super) fn commit(&mut self) -> Result<(), Vec<Diagnostic>> {
        for index in 0..self.steps.len() {
            if let Err(failed) = self.steps[index].run() {
                for step in self.steps[..index].iter_mut().rev() {
                    step.undo();
                }
                return Err(io(failed));
            }
        }
        for (name, folder) in &self.folders {
            let mode = folder.stat().map_err(io)?.st_mode & 0o7777;
            let right = if name == SECRETS { 0o700 } else { mode & !0o002 };
            if mode != right {
                folder.set_mode(right).map_err(io)?;
            }
        }
        Ok(())
    }
}

fn beside(name: &OsStr, what: &str) -> OsString {
    let mut beside = name.to_owned();
    beside.push(format!(".{what}-{}", std::process::id()));
    beside
}
