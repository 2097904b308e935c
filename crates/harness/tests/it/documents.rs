//! The commands of the documents, executed as they are printed.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::real::module;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The harness's commands in the fenced blocks of a page.
fn commands(page: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(workspace().join(page)).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("target/dist/harness "));
    let words = |line: &str| line.split('#').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    lines.map(words).collect()
}

/// A checkout after `make build`: the programs, and a catalogue to read and write.
fn checkout(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let built = module().parent().unwrap().to_owned();
    let dist = folder.join("target/dist");
    fs::create_dir_all(&dist).unwrap();
    for entry in fs::read_dir(built).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".so") || name.starts_with("wsgi-daemon") {
            fs::copy(entry.path(), dist.join(name)).unwrap();
        }
    }
    let program = dist.join("harness");
    fs::copy(env!("CARGO_BIN_EXE_harness"), &program).unwrap();
    // The whole catalogue takes longer to read.
    copy(&workspace().join("scenarios/locale/tz-last-wins"), &folder.join("scenarios/locale/tz-last-wins"));
    program
}

fn copy(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    for entry in fs::read_dir(source).unwrap().flatten() {
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        if from.is_dir() { copy(&from, &to) } else { fs::copy(from, to).map(|_| ()).unwrap() }
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the output of a program that goes on is read, which assert_cmd does not do"
)]
fn the_commands_of_the_readme_work_as_printed() {
    let folder = tempfile::tempdir().unwrap();
    let program = checkout(folder.path());
    let commands = commands("README.md");
    let first: Vec<&str> = commands.iter().map(|words| words[0].as_str()).collect();
    assert_eq!(first, ["list", "explain", "run", "up", "new"]);
    for words in commands {
        let mut command = Command::new(&program);
        command.args(&words).current_dir(folder.path()).stdin(Stdio::null());
        command.env("HOME", folder.path()).env_remove("HARNESS_VENV").env_remove("HARNESS_PEER");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut text = String::new();
        if words[0] == "up" {
            // It serves until it is interrupted.
            let mut said = child.stdout.take().unwrap();
            let mut bytes = [0; 4096];
            let deadline = Instant::now() + Duration::from_secs(60);
            while !text.contains("Ctrl-C ends it") && Instant::now() < deadline {
                match said.read(&mut bytes).unwrap() {
                    0 => break,
                    count => text.push_str(&String::from_utf8_lossy(&bytes[..count])),
                }
            }
            assert!(text.contains("tz-last-wins/problem[mpm=event,module=ours] is kept at http://"), "{text}");
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(child.id().try_into().unwrap()),
                nix::sys::signal::Signal::SIGINT,
            )
            .unwrap();
        }
        let output = child.wait_with_output().unwrap();
        text.push_str(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
        assert!(output.status.success(), "{words:?}\n{text}");
        if words[0] == "up" {
            assert!(text.contains("cells are selected; this is the first that can run here"), "{text}");
        }
    }
    assert!(folder.path().join("scenarios/misc/my-issue").exists());
}
