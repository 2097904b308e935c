//! The installed httpd and the module that cargo just built, for one command each; nothing here keeps running.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of one test, removed when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new one.
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mod_wsgi_rs-it-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The module beside this test program.
pub(crate) fn module() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows its path");
    let folder = program.parent().expect("it lies in a folder");
    let beside = folder.join("libmod_wsgi_rs.so");
    if beside.exists() { beside } else { folder.parent().expect("deps/ lies in a folder").join("libmod_wsgi_rs.so") }
}

/// Runs httpd with a configuration behind the lines that it needs to load the module, and returns what it said.
pub(crate) fn run(folder: &Folder, configuration: &str, arguments: &[&str]) -> Output {
    run_with(&module(), folder, configuration, arguments)
}

/// The same with a copy of the module, beside which its engines lie.
#[expect(clippy::disallowed_methods, reason = "the crate's tests start httpd here only")]
pub(crate) fn run_with(module: &Path, folder: &Folder, configuration: &str, arguments: &[&str]) -> Output {
    let file = folder.path().join("httpd.conf");
    let text = format!(
        "ServerName localhost\nServerRoot \"{root}\"\nPidFile \"{root}/pid\"\nErrorLog \"{root}/error.log\"\n\
         LoadModule mpm_event_module {modules}/mod_mpm_event.so\n\
         LoadModule authz_core_module {modules}/mod_authz_core.so\nLoadModule wsgi_module \"{module}\"\n{configuration}\n",
        root = folder.path().display(),
        modules = env!("HTTPD_MODULES"),
        module = module.display(),
    );
    std::fs::write(&file, text).expect("own folder");
    Command::new(env!("HTTPD")).arg("-f").arg(&file).args(arguments).output().expect("httpd is installed")
}

/// The first refusal of a configuration, without the place that Apache puts before it; `None` when it is accepted.
pub(crate) fn refusal(configuration: &str) -> Option<String> {
    let folder = Folder::new(&format!("refusal-{:x}", hash(configuration)));
    // Without embedded mode no engine has to lie beside the module.
    let output = run(&folder, &format!("WSGIRestrictEmbedded On\n{configuration}"), &["-t"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return None;
    }
    let line = text.lines().find(|line| !line.starts_with("AH00526:") && !line.is_empty());
    Some(line.unwrap_or_default().to_owned())
}

/// What a module says to a configuration without embedded mode: `OK`, or the text of the refusal.
pub(crate) fn check(folder: &Folder, module: &Path, configuration: &str) -> String {
    let output = run_with(module, folder, &format!("WSGIRestrictEmbedded On\n{configuration}"), &["-t"]);
    if output.status.success() {
        return "OK".to_owned();
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| !line.starts_with("AH00526:") && !line.is_empty());
    let log = std::fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
    line.map_or(log, str::to_owned)
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
