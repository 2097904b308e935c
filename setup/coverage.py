"""Writes docs/coverage.md: every directive, option, code, rule and name of the contract with the tests that show it.

    setup/coverage.py [--check] [--complete] [--missing] [--root FOLDER]

The ids come from the contract (docs/contract/*.toml), the table of directives (crates/runtime/apache/directives.json)
and the table of codes. Tests name the ids that they show: a Rust or Python test in a comment directly above it
(`// Covers: id, id`), a scenario in its list `covers:`.

--check     compares with what is checked in, writes nothing
--complete  an id without a test is an error, but for codes and for what is not supported yet
--missing   prints the ids without a test, writes nothing
"""

import argparse
import json
import os
import re
import sys
import tomllib

PAGE = "docs/coverage.md"
# The pages of rules, in the order in which they are shown.
RULES = ("adapter", "mapping", "config", "daemon", "auth", "proxies", "logs", "api", "telemetry", "extensions")


class Id:
    """One thing that has to be shown."""

    def __init__(self, name, text, demanded):
        self.name = name
        self.text = text
        self.demanded = demanded
        self.tests = []


class Section:
    """A table of the page."""

    def __init__(self, title, heading):
        self.title = title
        self.heading = heading
        self.ids = []


class Contract:
    """All ids, in the order of the page."""

    def __init__(self):
        self.sections = []
        self.ids = {}
        self.mistakes = []

    def section(self, title, heading):
        self.sections.append(Section(title, heading))

    def add(self, name, text="", source="", demanded=True):
        if name in self.ids:
            self.mistakes.append(f"{source}: {name} is there twice")
            return
        found = Id(name, text, demanded)
        self.ids[name] = found
        self.sections[-1].ids.append(found)

    def shown(self, names, test, place):
        for name in names:
            if name not in self.ids:
                near = closest(name, self.ids)
                self.mistakes.append(f"{place}: unknown id {name}{f' (did you mean {near}?)' if near else ''}")
            elif test in self.ids[name].tests:
                self.mistakes.append(f"{place}: {name} is named twice")
            else:
                self.ids[name].tests.append(test)


def closest(name, names):
    import difflib

    found = difflib.get_close_matches(name, names, 1, 0.7)
    return found[0] if found else None


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def read_toml(path):
    with open(path, "rb") as file:
        return tomllib.load(file)


def rules(contract, root):
    folder = os.path.join(root, "docs/contract")
    present = {name[:-5] for name in os.listdir(folder) if name.endswith(".toml")} - {"names"}
    for page in sorted(present - set(RULES)):
        contract.mistakes.append(f"docs/contract/{page}.toml: not a page that setup/coverage.py knows")
    for page in RULES:
        source = f"docs/contract/{page}.toml"
        document = read_toml(os.path.join(root, source))
        title = document.pop("title")
        for heading, slugs in document.items():
            contract.section(title, heading)
            for slug, text in slugs.items():
                if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug):
                    contract.mistakes.append(f"{source}: {slug} is not made of words and dashes")
                if not text.endswith("."):
                    contract.mistakes.append(f"{source}: {slug} is not a sentence")
                contract.add(f"rule:{page}/{slug}", text, source)


def directives(contract, root):
    source = "crates/runtime/apache/directives.json"
    rows = json.loads(read(os.path.join(root, source)))
    contract.section("Directives", "")
    for row in rows:
        if row["kind"] in ("directive", "container"):
            contract.add(f"directive:{row['name']}", row["help"], source)
    contract.section("Options", "")
    helps = {}
    for row in rows:
        if row["kind"] not in ("directive", "container"):
            name = f"option:{row['of']}/{row['name']}"
            helps[row["name"]] = row["help"]
            # What is refused by name has nothing to show.
            known = row.get("status") == "known"
            contract.add(name, ("Not supported yet: " if known else "") + row["help"], source, not known)
    for row in rows:
        if row["kind"] in ("directive", "container"):
            for option in row["options"]:
                name = f"option:{row['name']}/{option}"
                if name not in contract.ids:
                    contract.add(name, helps.get(option, ""), source)


def codes(contract, root):
    contract.section("Codes of the log", "")
    places = [os.path.join(root, "crates/runtime/apache/src/codes.rs")]
    folder = os.path.join(root, "crates/runtime/apache/src/codes")
    if os.path.isdir(folder):
        places += [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".rs")]
    found = {}
    for place in filter(os.path.isfile, places):
        for number, cause in re.findall(r"\bcode\(\s*(\d+),\s*\w+,\s*\"((?:[^\"\\]|\\.)*)\"", read(place)):
            found[int(number)] = re.sub(r"\\\s+", "", cause)
    if not found:
        contract.mistakes.append("crates/runtime/apache/src/codes.rs: no codes are recognised in it")
    # The engine logs codes of its own.
    for place in rust_files(root):
        if place.startswith("crates/runtime/python/src/") and not place.endswith("_tests.rs"):
            for number in re.findall(r"\bWSGI(\d{4})\b|\"(0\d{3})\"", read(os.path.join(root, place))):
                found.setdefault(int(number[0] or number[1]), "")
    for number, cause in sorted(found.items()):
        # Some failures come from a broken system only: the codes are listed, a test of each is not demanded.
        contract.add(f"code:WSGI{number:04}", cause, "codes.rs", demanded=False)


def names(contract, root):
    source = "docs/contract/names.toml"
    document = read_toml(os.path.join(root, source))
    contract.section("Names of the Python API", "")
    for module, attributes in document["api"].items():
        for attribute in attributes:
            contract.add(f"api:{module}.{attribute}", "", source)
    contract.section("Events", "")
    for event in document["event"]["names"]:
        contract.add(f"event:{event}", "", source)
    contract.section("Metrics", "")
    for function, keys in document["metric"].items():
        for key in keys:
            contract.add(f"metric:{function}/{key}", "", source)
    contract.section("Keys of the environ", "")
    for key in document["environ"]["keys"]:
        contract.add(f"environ:{key}", "", source)


def split(text):
    return [word.strip() for word in text.split(",") if word.strip()]


def annotated(lines, comment, test, place, mistakes):
    """Yields (line number, ids, name) of annotated tests. `test` matches the line that names one."""
    ids, began = [], None
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if stripped.startswith(f"{comment} Covers:"):
            began = began or number
            ids += split(stripped[len(comment) + len(" Covers:") :])
            continue
        if began is None:
            continue
        name = test.match(stripped)
        if name:
            if not ids:
                mistakes.append(f"{place}:{began}: names nothing")
            yield began, ids, name.group(1)
            ids, began = [], None
        elif stripped.startswith(comment):
            # The list goes on, or another comment stands in between.
            if ids and lines[number - 2].rstrip().endswith(","):
                ids += split(stripped[len(comment) :])
        elif not stripped.startswith(("#[", "@", ")]", "///")):
            mistakes.append(f"{place}:{began}: no test follows")
            ids, began = [], None
    if began is not None:
        mistakes.append(f"{place}:{began}: no test follows")


def rust_files(root):
    for folder, folders, files in os.walk(os.path.join(root, "crates")):
        folders[:] = sorted(name for name in folders if name != "target")
        for name in sorted(files):
            if name.endswith(".rs"):
                yield os.path.relpath(os.path.join(folder, name), root)


def rust_test_path(place, lines, began):
    """`package it::module` or `package module::tests`, as nextest names it."""
    parts = place.split(os.sep)
    if "tests" in parts:
        at = parts.index("tests")
        path = parts[at + 1 :]
    else:
        at = parts.index("src")
        path = parts[at + 1 :]
    package = parts[at - 1]
    path[-1] = path[-1][:-3]
    if path[-1] in ("main", "mod", "lib"):
        path.pop()
    # An inline module of tests around it.
    for line in reversed(lines[: began - 1]):
        module = re.match(r"(?:pub(?:\(\w+\))? )?mod (\w+) \{", line)
        if module:
            path.append(module.group(1))
            break
        if line.startswith("}"):
            break
    return package, "::".join(path)


def rust_tests(contract, root):
    pattern = re.compile(r"(?:pub(?:\(\w+\))? )?(?:async )?fn (\w+)")
    for place in rust_files(root):
        text = read(os.path.join(root, place))
        if "// Covers:" not in text:
            continue
        lines = text.split("\n")
        for began, ids, name in annotated(lines, "//", pattern, place, contract.mistakes):
            package, path = rust_test_path(place, lines, began)
            label = f"`{'::'.join(part for part in (path, name) if part)}` ({package})"
            contract.shown(ids, label, f"{place}:{began}")


def python_tests(contract, root):
    folder = os.path.join(root, "setup/tests")
    pattern = re.compile(r"def (test_\w+)")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            place = f"setup/tests/{name}"
            lines = read(os.path.join(root, place)).split("\n")
            for began, ids, test in annotated(lines, "#", pattern, place, contract.mistakes):
                contract.shown(ids, f"`{test}` (setup)", f"{place}:{began}")


def scenario_ids(text, place, mistakes):
    """The list `covers:` at the top level of a scenario: in brackets, or one item per line."""
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if line.startswith("covers:")]
    if not starts:
        return []
    start = starts[0]
    rest = re.sub(r"\s#.*", "", lines[start][len("covers:") :]).strip()
    if rest:
        listed = rest
        while "]" not in listed and start + 1 < len(lines):
            start += 1
            listed += " " + re.sub(r"\s#.*", "", lines[start]).strip()
        brackets = re.fullmatch(r"\[(.*)\]", listed)
        if not brackets:
            mistakes.append(f"{place}:{start + 1}: covers is not a list")
            return []
        return [word.strip("\"'") for word in split(brackets.group(1))]
    found = []
    for line in lines[start + 1 :]:
        item = re.match(r"\s*- +(.*?)(\s#.*)?$", line)
        if item:
            found.append(item.group(1).strip().strip("\"'"))
        elif line.strip() and not line.strip().startswith("#"):
            break
    return found


def scenarios(contract, root):
    for folder, folders, files in os.walk(os.path.join(root, "scenarios")):
        folders.sort()
        if "scenario.yaml" in files:
            place = os.path.relpath(os.path.join(folder, "scenario.yaml"), root)
            ids = scenario_ids(read(os.path.join(root, place)), place, contract.mistakes)
            label = f"[{os.path.basename(folder)}](../{os.path.dirname(place)}/scenario.yaml)"
            contract.shown(ids, label, place)


def cell(text):
    return text.replace("|", "\\|")


def page(contract):
    shown = sum(1 for found in contract.ids.values() if found.tests)
    lines = [
        "# Coverage: what is shown by which test",
        "",
        "Generated by `setup/coverage.py` from the contract ([contract/](contract)), the tables of directives and codes, and",
        "the annotations of tests and scenarios; `make generate` writes it anew. [CONTRIBUTING.md](../CONTRIBUTING.md) tells",
        "how to annotate. `it::…` are integration tests of the package in parentheses, names without it stand beside the code;",
        "links are scenarios.",
        "",
        f"{shown} of {len(contract.ids)} are shown. Codes of failures that only a broken system brings about, and options that are",
        "refused by name as they are not supported yet, may be without a test; everything else has one.",
    ]
    title = None
    for section in contract.sections:
        if section.title != title:
            title = section.title
            lines += ["", f"## {title}"]
        if section.heading:
            lines += ["", f"### {section.heading}"]
        lines += ["", "| id | what | shown by |", "|---|---|---|"]
        for found in section.ids:
            tests = ", ".join(sorted(found.tests)) or "–"
            lines.append(f"| `{cell(found.name)}` | {cell(found.text)} | {tests} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--complete", action="store_true")
    parser.add_argument("--missing", action="store_true")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--root", default=os.path.dirname(here))
    options = parser.parse_args()
    root = options.root

    contract = Contract()
    rules(contract, root)
    directives(contract, root)
    codes(contract, root)
    names(contract, root)
    rust_tests(contract, root)
    python_tests(contract, root)
    scenarios(contract, root)

    missing = [name for name, found in contract.ids.items() if not found.tests]
    if options.missing:
        print("\n".join(missing))
    failed = bool(contract.mistakes)
    for mistake in contract.mistakes:
        print(mistake, file=sys.stderr)
    demanded = [name for name in missing if contract.ids[name].demanded]
    if demanded and options.complete:
        failed = True
        print("without a test: " + ", ".join(demanded), file=sys.stderr)
    elif missing:
        print(f"{len(missing)} of {len(contract.ids)} ids have no test", file=sys.stderr)

    if options.missing:
        return 1 if failed else 0
    path = os.path.join(root, PAGE)
    wanted = page(contract)
    present = read(path) if os.path.isfile(path) else ""
    if wanted != present:
        if options.check:
            failed = True
            print(f"{PAGE} is not up to date: run `make generate`", file=sys.stderr)
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(wanted)
            print(f"wrote {PAGE}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
