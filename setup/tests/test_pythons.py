"""Tests of the scripts that build other Pythons: what they refuse, and where they keep the result."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

SETUP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Pythons(unittest.TestCase):
    def run_script(self, name, **variables):
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
        return subprocess.run([os.path.join(SETUP, name)], env=environment, capture_output=True, text=True)

    def test_a_version_is_wanted(self):
        for version in ["3", "3.9", "4.0", "3.13.1", "../3.13"]:
            refused = self.run_script("python.sh", VERSION=version)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("a version such as 3.13 is wanted", refused.stderr)
        self.assertIn("VERSION=3.13", self.run_script("python.sh").stderr)

    def test_builds_without_a_lock_begin_with_3_13(self):
        refused = self.run_script("python.sh", VERSION="3.12", FREE_THREADED="1")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("3.13 is the first", refused.stderr)

    def from_tarball(self, folder, tarball, checksum=None, **variables):
        """A refused build of 3.13 from a tarball; nothing may be left of it."""
        if checksum is None:
            with open(tarball, "rb") as file:
                checksum = hashlib.sha256(file.read()).hexdigest()
        cache = os.path.join(folder, "cache")
        given = {"VERSION": "3.13", "PYTHON_CACHE": cache, "PYTHON_SRC": tarball, "TMPDIR": folder, **variables}
        refused = self.run_script("python.sh", PYTHON_SRC_SHA256=checksum, **given)
        self.assertNotEqual(refused.returncode, 0)
        self.assertEqual(refused.stdout, "")
        self.assertFalse(os.path.exists(cache) and os.listdir(cache), "nothing is built")
        self.assertFalse([name for name in os.listdir(folder) if name.startswith("mod_wsgi_rs")], "nothing is left behind")
        return refused.stderr

    def source(self, folder, files):
        """A tarball with these files in its one folder."""
        path = os.path.join(folder, "Python.tar.gz")
        with tarfile.open(path, "w:gz") as archive:
            for name, text in files.items():
                entry = tarfile.TarInfo("Python-3/" + name)
                entry.size, entry.mode = len(text), 0o755
                archive.addfile(entry, io.BytesIO(text.encode()))
        return path

    def test_a_tarball_is_checked(self):
        with tempfile.TemporaryDirectory() as folder:
            tarball = self.source(folder, {"README": "anything"})
            without = self.run_script("python.sh", VERSION="3.13", PYTHON_CACHE=folder, PYTHON_SRC=tarball)
            self.assertNotEqual(without.returncode, 0)
            self.assertIn("PYTHON_SRC needs the checksum of the file in PYTHON_SRC_SHA256", without.stderr)
            for checksum in ["0" * 64, "no checksum"]:
                self.assertIn("another checksum than PYTHON_SRC_SHA256", self.from_tarball(folder, tarball, checksum))
            missing = os.path.join(folder, "missing.tar.xz")
            self.assertIn("missing.tar.xz: there is no such file", self.from_tarball(folder, missing, "0" * 64))

    def test_a_tarball_of_something_else_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            text = os.path.join(folder, "text.tar.xz")
            with open(text, "w") as file:
                file.write("anything")
            for tarball in [text, self.source(folder, {"README": "anything"})]:
                self.assertIn("does not hold the source of CPython", self.from_tarball(folder, tarball))

    def test_a_tarball_of_another_version_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            for level in ["3.12.4", "3.1", "3.130.1"]:
                tarball = self.source(folder, {"Include/patchlevel.h": '#define PY_VERSION "%s"\n' % level})
                self.assertIn("is Python %s, not 3.13" % level, self.from_tarball(folder, tarball))

    def test_a_tarball_is_configured_built_and_installed(self):
        """With a source whose configure and make only say how they were called."""
        configure = """#!/bin/sh
printf 'all:\\n\\ninstall:\\n\\tmkdir -p %s/bin\\n\\tcp run %s/bin/python3.13\\n' "$PREFIX" "$PREFIX" >Makefile
echo "$@" >run.arguments
"""
        configure = configure.replace("$PREFIX", "${2#--prefix=}")
        source = {
            "Include/patchlevel.h": '#define PY_VERSION "3.13.9+"\n',
            "configure": configure,
            "run": "#!/bin/sh\nexit 0\n",
        }
        with tempfile.TemporaryDirectory() as folder:
            tarball = self.source(folder, source)
            with open(tarball, "rb") as file:
                checksum = hashlib.sha256(file.read()).hexdigest().upper()
            given = {"VERSION": "3.13", "PYTHON_CACHE": folder, "PYTHON_SRC": tarball, "PYTHON_SRC_SHA256": checksum}
            built = self.run_script("python.sh", **given)
            self.assertEqual(built.returncode, 0, built.stderr)
            self.assertEqual(built.stdout, "%s/python-3.13/bin/python3.13\n" % folder)
            with open(os.path.join(folder, "python-3.13", ".complete")) as file:
                self.assertEqual(file.read(), "3.13.9+\n")

    def test_a_build_that_fails_leaves_nothing_and_shows_its_end(self):
        source = {
            "Include/patchlevel.h": '#define PY_VERSION "3.13.0"\n',
            "configure": "#!/bin/sh\necho no compiler here\nexit 1\n",
        }
        with tempfile.TemporaryDirectory() as folder:
            said = self.from_tarball(folder, self.source(folder, source))
            self.assertIn("no compiler here", said)
            self.assertIn("Python 3.13.0 could not be built", said)

    def test_what_is_in_the_cache_is_taken(self):
        with tempfile.TemporaryDirectory() as cache:
            os.makedirs(os.path.join(cache, "python-3.13t"))
            with open(os.path.join(cache, "python-3.13t", ".complete"), "w") as file:
                file.write("3.13.5\n")
            found = self.run_script("python.sh", VERSION="3.13", FREE_THREADED="1", PYTHON_CACHE=cache)
            self.assertEqual(found.stdout, "%s/python-3.13t/bin/python3.13t\n" % cache)

    def test_the_cache_lies_outside_of_the_tree(self):
        folder = self.run_script("python-cache.sh").stdout.strip()
        expected = "/var/cache/mod_wsgi_rs" if os.geteuid() == 0 else "/nonexistent/.cache/mod_wsgi_rs"
        self.assertEqual(folder, expected)
        self.assertEqual(self.run_script("python-cache.sh", PYTHON_CACHE="/own").stdout, "/own\n")

    def test_engines_are_named_by_version(self):
        command = [sys.executable, os.path.join(SETUP, "engine_version.py")]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        self.assertRegex(version, r"^3\.\d+t?$")


class Build(unittest.TestCase):
    """`setup/build.sh` with a cargo that does nothing, over files as cargo would leave them."""

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="build-test-")
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copytree(SETUP, os.path.join(self.root, "setup"), ignore=shutil.ignore_patterns("tests", "__pycache__"))
        for name in ["scenarios", "bin", "target/dist"]:
            os.makedirs(os.path.join(self.root, name))
        self.leave("target/release", "libmod_wsgi_rs.so", "libwsgi_python.so", "wsgi-daemon")
        self.leave("target/tools", "confgen", "harness")
        self.cargo = os.path.join(self.root, "bin", "cargo")
        with open(self.cargo, "w") as program:
            program.write('#!/bin/sh\necho "$PYO3_PYTHON $*" >>"%s/calls"\n' % self.root)
        os.chmod(self.cargo, 0o755)

    def leave(self, folder, *names):
        folder = os.path.join(self.root, folder)
        os.makedirs(folder, exist_ok=True)
        for name in names:
            with open(os.path.join(folder, name), "w") as file:
                file.write(folder)

    def build(self):
        environment = {"PATH": os.environ["PATH"], "CARGO": self.cargo, "PYTHON": sys.executable}
        command = [os.path.join(self.root, "setup", "build.sh")]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def dist(self):
        return os.listdir(os.path.join(self.root, "target/dist"))

    def test_an_engine_that_cannot_be_renewed_is_taken_away(self):
        self.leave("target/dist", "wsgi_python-3.99.so", "wsgi-daemon-3.99")
        done = self.build()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("removing the engine for Python 3.99", done.stderr)
        self.assertFalse([name for name in self.dist() if "3.99" in name])
        self.assertIn("wsgi_python-%d.%d.so" % sys.version_info[:2], self.dist())

    def test_an_engine_that_was_added_is_built_anew(self):
        # A Python of another version, as far as the scripts can tell.
        python = os.path.join(self.root, "bin", "python3.99t")
        with open(python, "w") as program:
            program.write('#!/bin/sh\ncase $1 in *engine_version.py) echo 3.99t ;; esac\n')
        os.chmod(python, 0o755)
        self.leave("target/dist", "wsgi_python-3.99t.so", "wsgi-daemon-3.99t")
        self.leave("target/engines/3.99t/release", "libwsgi_python.so", "wsgi-daemon")
        with open(os.path.join(self.root, "target/engines/3.99t/python"), "w") as file:
            file.write(python + "\n")
        done = self.build()
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(self.root, "calls")) as calls:
            self.assertIn("%s build --locked --profile release --package wsgi_python" % python, calls.read())
        with open(os.path.join(self.root, "target/dist/wsgi_python-3.99t.so")) as engine:
            self.assertIn("engines/3.99t", engine.read())


if __name__ == "__main__":
    unittest.main()
