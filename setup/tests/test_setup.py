"""Tests of the set-up scripts with stand-ins for the programs that would change the system."""

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

SETUP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NOBODY = 65534

# Programs that the scripts use and that change nothing.
TOOLS = "sh env cat sed tr find head id dirname mkdir rm ln cmp install printf cp chmod mv".split()

# Programs that the set-up sees to, besides those that the environment of a test names.
CALLED = "cc curl pgrep prlimit".split()


class Sandbox(unittest.TestCase):
    """A PATH of our own, in which the system's package tools are recorders."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="setup-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        os.chmod(self.folder, 0o755)
        self.bin = os.path.join(self.folder, "bin")
        os.mkdir(self.bin)
        self.record = os.path.join(self.folder, "calls")
        with open(self.record, "w"):
            pass
        os.chmod(self.record, 0o666)
        for tool in TOOLS:
            os.symlink(shutil.which(tool), os.path.join(self.bin, tool))
        # What is called by name is there; cargo is not, which ends every run that gets that far.
        for program in CALLED:
            os.symlink("/bin/true", os.path.join(self.bin, program))
        # A copy, as the checkout may lie in a home that the unprivileged user of a test cannot read.
        self.setup = os.path.join(self.folder, "setup")
        shutil.copytree(SETUP, self.setup, ignore=shutil.ignore_patterns("tests", "__pycache__"))

    def stand_in(self, name, script="exit 0"):
        path = os.path.join(self.bin, name)
        with open(path, "w") as program:
            program.write('#!/bin/sh\necho "%s $*" >>"%s"\n%s\n' % (name, self.record, script))
        os.chmod(path, 0o755)

    def calls(self):
        with open(self.record) as record:
            return record.read().splitlines()

    def environment(self, **more):
        return {
            "PATH": self.bin,
            "PYTHON": sys.executable,
            "ENVIRONMENT": os.path.join(self.folder, "venv"),
            "APT_LISTS": os.path.join(self.folder, "lists"),
            # One part that is surely missing and one more that is surely there.
            "APXS": os.path.join(self.folder, "apxs"),
            "HTTPD": "/bin/true",
            "LIBCLANG_PATH": os.path.join(self.folder, "no-clang"),
            **more,
        }

    def run_setup(self, *arguments, unprivileged=True, stdin=subprocess.DEVNULL, **environment):
        identity = {}
        if unprivileged and os.geteuid() == 0:
            identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        return subprocess.run(
            [os.path.join(self.setup, "setup.sh"), *arguments],
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment(**environment),
            **identity,
        )


class WithoutRights(Sandbox):
    def test_prints_the_command_for_three_distributions_and_stops(self):
        self.stand_in("apt-get")
        done = self.run_setup()
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"Debian, Ubuntu: +apt-get update && apt-get install .*apache2-dev.*libclang-dev")
        self.assertRegex(done.stderr, r"Fedora: +dnf install .*httpd-devel.*clang-devel")
        self.assertRegex(done.stderr, r"Alpine: +apk add .*apache2-dev.*clang-dev")
        self.assertEqual(self.calls(), [], "nothing may be installed")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "venv")))

    def test_never_names_the_package_that_starts_a_service(self):
        done = self.run_setup(HTTPD=os.path.join(self.folder, "httpd"))
        debian = next(line for line in done.stderr.splitlines() if "Debian" in line)
        self.assertIn("apache2-bin", debian.split())
        self.assertNotIn("apache2", debian.split())

    def test_programs_that_scenarios_call_are_installed(self):
        for program in CALLED:
            os.unlink(os.path.join(self.bin, program))
        commands = self.commands(self.run_setup())
        self.assertLessEqual({"gcc", "curl", "procps", "util-linux"}, commands["Debian, Ubuntu"])
        self.assertLessEqual({"gcc", "curl", "procps-ng", "util-linux"}, commands["Fedora"])
        self.assertLessEqual({"build-base", "curl", "procps", "util-linux"}, commands["Alpine"])

    def test_only_what_is_asked_for_is_installed_for_developers(self):
        asked = {(): set(), ("--with-benchmark",): {"wrk"}, ("--for-development",): {"wrk", "gdb", "valgrind"}}
        for arguments, expected in asked.items():
            with self.subTest(arguments=arguments):
                for packages in self.commands(self.run_setup(*arguments)).values():
                    self.assertEqual(packages & {"wrk", "gdb", "valgrind", "curl", "procps"}, expected)

    def test_an_unknown_argument_is_refused(self):
        done = self.run_setup("--with-benchmarks")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--with-benchmark and --for-development", done.stderr)

    def commands(self, done):
        """The packages of the printed commands, by distribution."""
        self.assertEqual(done.returncode, 1, done.stderr)
        lines = [line.strip().split(":", 1) for line in done.stderr.splitlines() if line.startswith("  ")]
        self.assertEqual([name for name, _ in lines], ["Debian, Ubuntu", "Fedora", "Alpine"])
        return {name: set(command.split()) for name, command in lines}

    def test_without_a_terminal_sudo_is_not_used_unasked(self):
        self.stand_in("apt-get")
        self.stand_in("sudo")
        done = self.run_setup()
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("SETUP=auto", done.stderr)
        self.assertEqual(self.calls(), [])


class WithRights(Sandbox):
    def installing(self):
        """An apt-get that makes apxs appear, and a sudo that runs what it is given."""
        os.mkdir(os.path.join(self.folder, "no-clang"))
        with open(os.path.join(self.folder, "no-clang", "libclang.so"), "w"):
            pass
        os.chmod(self.folder, 0o777)
        self.stand_in("apt-get", 'case "$*" in *install*) ln -s /bin/true "%s/apxs" ;; esac' % self.folder)
        self.stand_in("sudo", 'exec "$@"')

    def assert_installed(self, through_sudo):
        installs = [call for call in self.calls() if call.startswith("apt-get") and "install" in call]
        self.assertEqual(len(installs), 1, self.calls())
        self.assertTrue(installs[0].endswith(" apache2-dev"), installs[0])
        self.assertEqual(any(call.startswith("sudo") for call in self.calls()), through_sudo, self.calls())

    def test_auto_uses_sudo_without_asking(self):
        self.installing()
        done = self.run_setup(SETUP="auto")
        self.assert_installed(through_sudo=True)
        self.assertIn("cargo is not in PATH", done.stderr)

    def test_missing_package_lists_are_fetched_once(self):
        self.installing()
        self.run_setup(SETUP="auto")
        self.assertEqual(sum("apt-get update" in call and call.startswith("apt-get") for call in self.calls()), 1)

    def test_fresh_package_lists_are_kept(self):
        self.installing()
        lists = os.path.join(self.folder, "lists")
        os.mkdir(lists)
        with open(os.path.join(lists, "mirror_main_Packages.lz4"), "w"):
            pass
        self.run_setup(SETUP="auto")
        self.assertFalse(any("update" in call for call in self.calls()), self.calls())
        self.assert_installed(through_sudo=True)

    @unittest.skipUnless(os.geteuid() == 0, "only root installs without sudo")
    def test_root_installs_at_once(self):
        self.installing()
        self.run_setup(unprivileged=False)
        self.assert_installed(through_sudo=False)

    def test_on_a_terminal_the_answer_decides(self):
        for answer, installed in (("n\n", False), ("\n", False), ("y\n", True)):
            with self.subTest(answer=answer):
                self.tearDownSandbox()
                self.installing()
                screen = self.on_a_terminal(answer)
                self.assertIn("with sudo? [y/N]", screen)
                self.assertEqual(any("install" in call for call in self.calls()), installed, screen)

    def tearDownSandbox(self):
        self.doCleanups()
        self.setUp()

    def on_a_terminal(self, answer):
        pid, terminal = pty.fork()
        if pid == 0:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            os.execve(os.path.join(self.setup, "setup.sh"), ["setup.sh"], self.environment())
        os.write(terminal, answer.encode())
        screen = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            screen += piece
        os.waitpid(pid, 0)
        os.close(terminal)
        return screen.decode()


class Needs(unittest.TestCase):
    """Without these a scenario is skipped, or fails, everywhere but on the machine of who wrote it."""

    def scenarios(self):
        """The text of every scenario and the programs that it says it needs, by its folder's name."""
        for folder, _, names in os.walk(os.path.join(os.path.dirname(SETUP), "scenarios")):
            if "scenario.yaml" in names:
                with open(os.path.join(folder, "scenario.yaml")) as file:
                    text = file.read()
                said = re.search(r"(?m)^needs:.*command: \[([^]]*)\]", text)
                yield os.path.basename(folder), text, set(said.group(1).split(", ")) if said else set()

    def test_every_program_that_a_scenario_needs_is_one_of_the_set_up(self):
        # What comes with other parts, with any system, or with `make setup-dev`.
        known = {"apache2", "apxs", "chown", "gdb", *CALLED}
        unknown = {name: needs - known for name, _, needs in self.scenarios() if needs - known}
        self.assertEqual(unknown, {})

    def test_every_program_that_a_scenario_calls_is_needed(self):
        called = re.compile(r"(?:^|[\s\"($;|])(curl|pgrep|prlimit|gdb) --?\w", re.MULTILINE)
        found = {name: set(called.findall(text)) - needs for name, text, needs in self.scenarios() if called.search(text)}
        self.assertLessEqual({"http2", "start-refused"}, set(found), "the pattern finds nothing any more")
        self.assertEqual({name: programs for name, programs in found.items() if programs}, {})


class Python(Sandbox):
    def test_a_python_that_is_not_there_is_named(self):
        done = self.run_setup(PYTHON="/nowhere/python3.12")
        self.assertEqual(done.returncode, 3)
        self.assertIn("/nowhere/python3.12", done.stderr)

    def facts(self, patch):
        """The judgement of python_facts.py after `patch` changed what this Python says about itself."""
        script = os.path.join(SETUP, "python_facts.py")
        code = "import sys, sysconfig\n%s\nexec(compile(open(%r).read(), %r, 'exec'))" % (patch, script, script)
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    def test_this_python_is_complete(self):
        done = self.facts("")
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    def test_a_static_python_is_refused_with_the_way_out(self):
        done = self.facts(
            "real = sysconfig.get_config_var\n"
            "sysconfig.get_config_var = lambda name: 0 if name == 'Py_ENABLE_SHARED' else real(name)"
        )
        self.assertEqual(done.returncode, 3)
        self.assertIn("--enable-shared", done.stderr)

    def test_an_old_python_is_refused(self):
        done = self.facts("sys.version_info = (3, 10, 4, 'final', 0)")
        self.assertEqual(done.returncode, 3)
        self.assertIn("3.11 or newer", done.stderr)

    def test_missing_headers_are_a_missing_part(self):
        done = self.facts(
            "real = sysconfig.get_config_var\n"
            "sysconfig.get_config_var = lambda name: '/nowhere' if name == 'INCLUDEPY' else real(name)"
        )
        self.assertEqual((done.returncode, done.stdout), (0, "python-headers\n"))


class Environment(Sandbox):
    def test_an_environment_is_made_once_and_readable_by_others(self):
        empty = os.path.join(self.folder, "empty.txt")
        with open(empty, "w") as requirements:
            requirements.write("# nothing\n")
        folder = os.path.join(self.folder, "made", "venv")
        command = [os.path.join(SETUP, "environment.sh"), folder, empty]
        environment = {**os.environ, "PYTHON": sys.executable}
        runs = [
            subprocess.run(["sh", "-c", 'umask 077; exec "$@"', "sh", *command], env=environment, capture_output=True, text=True)
            for _ in range(2)
        ]
        self.assertEqual([run.returncode for run in runs], [0, 0], runs[0].stderr)
        self.assertIn("making", runs[0].stdout)
        self.assertEqual(runs[1].stdout, "")
        self.assertEqual(os.stat(os.path.join(folder, "lib")).st_mode & 0o055, 0o055)


class Checkout(Sandbox):
    """A stand-in checkout with the scripts in it."""

    def file(self, path, content="", mode=0o644):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(content)
        os.chmod(path, mode)
        return path

    def script(self, name, *arguments, umask=0o022):
        return subprocess.run(
            ["sh", "-c", "umask %03o; exec \"$@\"" % umask, "sh", os.path.join(self.setup, name), *arguments],
            env={**os.environ, "PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )


class Dist(Checkout):
    def gather(self, umask=0o022):
        built = os.path.join(self.folder, "built")
        return self.script("dist.sh", built, built, umask=umask)

    def test_gathers_everything_under_its_names_and_readable(self):
        for name in ("libmod_wsgi_rs.so", "libwsgi_python.so", "wsgi-daemon", "confgen", "harness"):
            self.file("built/" + name, name, 0o700)
        self.file("scenarios/area/one/scenario.yaml", mode=0o600)
        self.file("scenarios/area/one/__pycache__/one.pyc")
        for _ in range(2):
            done = self.gather(umask=0o077)
            self.assertEqual(done.returncode, 0, done.stderr)
        dist = os.path.join(self.folder, "target", "dist")
        version = "%d.%d" % sys.version_info[:2]
        self.assertEqual(
            sorted(os.listdir(dist)),
            sorted(["mod_wsgi_rs.so", "wsgi_python-%s.so" % version, "wsgi-daemon-%s" % version, "confgen", "harness", "scenarios"]),
        )
        self.assertEqual(os.listdir(os.path.join(dist, "scenarios", "area", "one")), ["scenario.yaml"])
        for folder, _, files in os.walk(dist):
            for path in [folder, *(os.path.join(folder, name) for name in files)]:
                self.assertEqual(os.stat(path).st_mode & 0o044, 0o044, path)
                self.assertEqual(os.stat(path).st_mode & 0o022, 0, path)

    def test_a_running_program_keeps_its_file(self):
        for name in ("libmod_wsgi_rs.so", "libwsgi_python.so", "wsgi-daemon", "confgen", "harness"):
            self.file("built/" + name, name)
        self.file("scenarios/one.yaml")
        self.gather()
        path = os.path.join(self.folder, "target", "dist", "confgen")
        kept = os.stat(os.path.join(self.folder, "target", "dist", "harness")).st_ino
        with open(path) as running:
            self.file("built/confgen", "newer")
            self.gather()
            self.assertEqual(running.read(), "confgen")
        with open(path) as replaced:
            self.assertEqual(replaced.read(), "newer")
        self.assertEqual(os.stat(os.path.join(self.folder, "target", "dist", "harness")).st_ino, kept, "unchanged files stay")


class Scenarios(Checkout):
    def setUp(self):
        super().setUp()
        self.file("target/dist/harness", '#!/bin/sh\necho "in $PWD as $(id -u) with $HARNESS_VENV:" "$@"\nexit 7\n', 0o755)
        self.file("target/venv/pyvenv.cfg")
        os.chmod(self.setup, 0o755)

    def test_runs_in_the_dist_folder_and_keeps_the_exit_status(self):
        done = self.script("scenarios.sh", "--jobs", "1")
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("in %s/target/dist as " % self.folder, done.stdout)
        self.assertTrue(done.stdout.endswith("with %s/target/venv: run --jobs 1\n" % self.folder), done.stdout)

    @unittest.skipUnless(os.geteuid() == 0, "only servers that root starts change their user")
    def test_a_closed_home_is_named_and_a_readable_copy_is_used(self):
        os.chmod(self.folder, 0o700)
        done = self.script("scenarios.sh")
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("%s is closed to other users" % self.folder, done.stdout)
        ran_in = done.stdout.split("\nin ")[1].split(" ")[0]
        self.assertFalse(ran_in.startswith(self.folder), done.stdout)
        self.assertFalse(os.path.exists(ran_in), "the copy has to go")

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_another_user_runs_it_without_the_environment_of_root(self):
        done = self.script("scenarios.sh", "--as", "nobody", "--jobs", "1")
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn(" as %d with " % NOBODY, done.stdout)


class Pins(unittest.TestCase):
    def test_every_pin_has_a_hash_and_no_host_is_named(self):
        folder = os.path.join(SETUP, "requirements")
        names = [name for name in sorted(os.listdir(folder)) if name.endswith(".txt")]
        self.assertTrue(names)
        for name in names:
            with open(os.path.join(folder, name)) as file:
                text = file.read()
            self.assertNotIn("://", text, name)
            self.assertNotIn("--index", text, name)
            pins = [line for line in text.splitlines() if "==" in line]
            self.assertTrue(pins, name)
            for pin in pins:
                self.assertTrue(pin.endswith("\\"), "%s: %s has no hash" % (name, pin))


if __name__ == "__main__":
    unittest.main()
