"""Tests of the scripts that build other Pythons: what they refuse, and where they keep the result."""

import os
import subprocess
import sys
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

    def test_a_tarball_is_checked(self):
        with tempfile.TemporaryDirectory() as cache:
            tarball = os.path.join(cache, "Python.tar.xz")
            with open(tarball, "w") as file:
                file.write("anything")
            given = {"VERSION": "3.13", "PYTHON_CACHE": cache, "PYTHON_SRC": tarball}
            self.assertIn("PYTHON_SRC_SHA256", self.run_script("python.sh", **given).stderr)
            refused = self.run_script("python.sh", PYTHON_SRC_SHA256="0" * 64, **given)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("another checksum", refused.stderr)

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


if __name__ == "__main__":
    unittest.main()
