"""Runs Cargo's tests, each in a process of its own: Python starts once in a process, and some tests fork or end theirs.

    rust_tests.py [--program NAME] CARGO [arguments that choose packages and folders]

cargo-nextest does this when it is installed; otherwise this file runs the test programs itself, one test at a time per
core, and prints what `cargo test` would print of them. With --program nothing runs: the test program of this name is
built, and its path printed.
"""

import concurrent.futures
import json
import os
import subprocess
import sys

# Longer than any test takes on a loaded machine: a test that hangs ends here.
LIMIT_SECONDS = 300


def programs(cargo, chosen):
    """Each test program that Cargo builds: its name, its file, and the folder of its package, where its tests expect to run."""
    built = subprocess.run(
        [cargo, "test", "--locked", "--no-run", "--message-format", "json-render-diagnostics", *chosen],
        stdout=subprocess.PIPE,
        text=True,
    )
    if built.returncode != 0:
        sys.exit(built.returncode)
    for line in built.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            yield message["target"]["name"], message["executable"], os.path.dirname(message["manifest_path"])


def names(program, folder, *more):
    listed = subprocess.run(
        [program, "--list", "--format", "terse", *more], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]


def run(test):
    """Runs one test; returns its name, whether it passed, and what it printed."""
    program, folder, name = test
    environment = dict(os.environ, CARGO_MANIFEST_DIR=folder)
    try:
        ended = subprocess.run(
            [program, "--exact", name, "--nocapture"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        shown = (late.stdout or b"").decode(errors="replace")
        return name, False, f"{shown}\nended after {LIMIT_SECONDS} s"
    return name, ended.returncode == 0, ended.stdout


def one_by_one(cargo, chosen):
    tests, ignored = [], 0
    for _, program, folder in programs(cargo, chosen):
        skipped = set(names(program, folder, "--ignored"))
        ignored += len(skipped)
        tests += [(program, folder, name) for name in names(program, folder) if name not in skipped]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, passed, printed in pool.map(run, tests):
            if not passed:
                failed += 1
                print(f"{printed}\ntest {name} ... FAILED", flush=True)
    verdict = "FAILED" if failed else "ok"
    print(f"test result: {verdict}. {len(tests) - failed} passed; {failed} failed; {ignored} ignored", flush=True)
    return 1 if failed else 0


def print_program(wanted, cargo, chosen):
    found = [program for name, program, _ in programs(cargo, chosen) if name == wanted]
    if len(found) != 1:
        sys.exit(f"expected one test program {wanted!r}, found {found}")
    print(found[0])


def main():
    if sys.argv[1] == "--program":
        wanted, cargo, *chosen = sys.argv[2:]
        return print_program(wanted, cargo, chosen)
    cargo, *chosen = sys.argv[1:]
    if subprocess.run([cargo, "nextest", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
        os.execvp(cargo, [cargo, "nextest", "run", "--locked", "--no-fail-fast", "--status-level", "fail", *chosen])
    sys.exit(one_by_one(cargo, chosen))


if __name__ == "__main__":
    main()
