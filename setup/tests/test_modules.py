"""The top-level modules of each package do not go round in circles."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Packages with their knots: sets of modules that reach each other. The lists only shrink.
PACKAGES = {
    "crates/confgen": [],
    "crates/harness": [["assertions", "runner", "scenario", "steps"]],
    "crates/runtime/apache": [
        [
            "body", "config", "daemon", "directives", "dispatch", "embedded", "engines", "environ", "guard", "hooks", "host",
            "launch_python", "mapping", "module", "observe", "ownership", "response", "scripts", "tokens",
        ],
    ],
    "crates/runtime/python": [
        [
            "config", "consult", "engine", "events", "forks", "interpreter", "keeper", "log_handler", "logging", "metrics", "module",
            "script", "search_path", "signals", "telemetry", "thread", "traceback", "wsgi",
        ],
    ],
    "crates/runtime/protocol": [["abi", "consult", "request"], ["page", "takeback"]],
}


def code(path):
    """The text of a file without comments and without its tests."""
    text = path.read_text().split("\n#[cfg(test)]")[0]
    return re.sub(r"(?m)^\s*//.*$", "", text)


def modules(package):
    """The top-level modules of a package with the others that each of them names."""
    source = ROOT / package / "src"
    names = {path.stem if path.is_file() else path.name for path in source.iterdir()} - {"lib", "main"}
    uses = {name: set() for name in names}
    for path in source.rglob("*.rs"):
        own = path.relative_to(source).parts[0].removesuffix(".rs")
        if own not in names or path.stem.endswith("tests"):
            continue
        text = code(path)
        found = set(re.findall(r"\bcrate::([a-z_]+)", text))
        # use crate::{a::b, c}: the names at the first level of the braces.
        for group in re.findall(r"\bcrate::\{((?:[^{}]|\{[^{}]*\})*)\}", text):
            flat = re.sub(r"\{[^{}]*\}", "", group)
            found.update(part.strip().split("::")[0] for part in flat.split(","))
        uses[own] |= (found & names) - {own}
    return uses


def knots(uses):
    """The sets of modules that reach each other, and themselves."""

    def reached(start):
        seen, todo = set(), [start]
        while todo:
            for name in uses[todo.pop()] - seen:
                seen.add(name)
                todo.append(name)
        return seen

    reach = {name: reached(name) for name in uses}
    found = {frozenset(other for other in uses if other in reach[name] and name in reach[other]) for name in uses}
    return sorted((sorted(knot) for knot in found if len(knot) > 1), key=str)


class Modules(unittest.TestCase):
    maxDiff = None

    def test_no_new_circles(self):
        for package, known in PACKAGES.items():
            with self.subTest(package):
                self.assertEqual(knots(modules(package)), known)

    def test_a_circle_is_seen(self):
        self.assertEqual(knots({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}), [["a", "b", "c"]])
        self.assertEqual(knots({"a": {"b"}, "b": set()}), [])


if __name__ == "__main__":
    unittest.main()
