"""Tests of the page of coverage, over a small tree of their own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SCRIPT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "coverage.py")
PAGES = ("adapter", "mapping", "config", "daemon", "auth", "proxies", "logs", "api", "telemetry", "extensions")


class Tree(unittest.TestCase):
    """A project with one rule, one directive with one option, one code, and a name of each kind."""

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="coverage-test-")
        self.addCleanup(shutil.rmtree, self.root)
        for page in PAGES:
            self.write(f"docs/contract/{page}.toml", f'title = "{page}"\n')
        self.write("docs/contract/adapter.toml", 'title = "Adapter"\n[environ]\nexact = "It is a dict."\n')
        self.write(
            "docs/contract/names.toml",
            '[api]\nmod_wsgi = ["version"]\n[event]\nnames = ["started"]\n'
            '[metric]\nprocess = ["pid"]\n[environ]\nkeys = ["PATH_INFO"]\n',
        )
        directive = {"name": "WSGIThing", "kind": "directive", "options": ["size"], "help": "A thing."}
        self.write("crates/runtime/apache/directives.json", json.dumps([directive]))
        self.write("crates/runtime/apache/src/codes.rs", 'static A: Code = code(\n    7,\n    Error,\n    "Broken.",\n')
        self.write("setup/tests/test_none.py", "")
        self.write("scenarios/none.txt", "")

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def run_it(self, *arguments):
        return subprocess.run(
            [sys.executable, SCRIPT, "--root", self.root, *arguments], capture_output=True, text=True, check=False
        )

    def page(self):
        with open(os.path.join(self.root, "docs/coverage.md"), encoding="utf-8") as file:
            return file.read()

    def test_ids_come_from_the_tables_and_the_contract(self):
        self.assertEqual(self.run_it().returncode, 0)
        for name in (
            "rule:adapter/exact", "directive:WSGIThing", "option:WSGIThing/size", "code:WSGI0007",
            "api:mod_wsgi.version", "event:started", "metric:process/pid", "environ:PATH_INFO",
        ):
            self.assertIn(f"| `{name}` |", self.page())
        self.assertIn("| `code:WSGI0007` | Broken. | – |", self.page())

    def test_annotations_are_found(self):
        self.write(
            "crates/runtime/python/tests/it/environ.rs",
            "// Covers: rule:adapter/exact, environ:PATH_INFO\n#[test]\nfn it_is_exact() {}\n",
        )
        self.write(
            "crates/runtime/apache/src/config.rs",
            "mod tests {\n    // Covers: directive:WSGIThing,\n    // option:WSGIThing/size\n"
            "    #[test]\n    fn merges() {}\n}\n",
        )
        self.write("scenarios/area/one/scenario.yaml", 'id: one\ncovers: [code:WSGI0007,   # seen\n  "event:started"]\n')
        self.write("scenarios/area/two/scenario.yaml", "id: two\ncovers:\n  - metric:process/pid # so\n  - api:mod_wsgi.version\nx: 1\n")
        result = self.run_it("--complete")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("| `rule:adapter/exact` | It is a dict. | `it::environ::it_is_exact` (python) |", self.page())
        self.assertIn("| `option:WSGIThing/size` |  | `config::tests::merges` (apache) |", self.page())
        self.assertIn("[one](../scenarios/area/one/scenario.yaml)", self.page())
        self.assertIn("8 of 8 are shown.", self.page())

    def test_unknown_ids_are_refused_with_the_nearest(self):
        self.write("crates/x/src/lib.rs", "// Covers: rule:adapter/exac\n#[test]\nfn a() {}\n")
        self.write("scenarios/area/one/scenario.yaml", "covers: [nothing]\n")
        result = self.run_it()
        self.assertEqual(result.returncode, 1)
        self.assertIn("crates/x/src/lib.rs:1: unknown id rule:adapter/exac (did you mean rule:adapter/exact?)", result.stderr)
        self.assertIn("scenarios/area/one/scenario.yaml: unknown id nothing", result.stderr)

    def test_an_annotation_must_stand_above_a_test(self):
        self.write("crates/x/src/lib.rs", "// Covers: rule:adapter/exact\nlet x = 1;\n")
        result = self.run_it()
        self.assertEqual(result.returncode, 1)
        self.assertIn("crates/x/src/lib.rs:1: no test follows", result.stderr)

    def test_an_id_is_there_once_and_named_once(self):
        self.write("docs/contract/names.toml", '[api]\nm = ["a", "a"]\n[event]\nnames = []\n[metric]\n[environ]\nkeys = []\n')
        self.write("crates/x/src/lib.rs", "// Covers: api:m.a, api:m.a\n#[test]\nfn a() {}\n")
        result = self.run_it()
        self.assertEqual(result.returncode, 1)
        self.assertIn("api:m.a is there twice", result.stderr)
        self.assertIn("api:m.a is named twice", result.stderr)

    def test_complete_refuses_ids_without_a_test(self):
        result = self.run_it("--complete")
        self.assertEqual(result.returncode, 1)
        self.assertIn("without a test: rule:adapter/exact", result.stderr)

    def test_a_stale_page_is_found(self):
        self.run_it()
        self.assertEqual(self.run_it("--check").returncode, 0)
        self.write("scenarios/area/one/scenario.yaml", "covers: [event:started]\n")
        before = self.page()
        result = self.run_it("--check")
        self.assertEqual(result.returncode, 1)
        self.assertIn("docs/coverage.md is not up to date", result.stderr)
        self.assertEqual(self.page(), before)


if __name__ == "__main__":
    unittest.main()
