"""What came of a stage of `make test`: numbers and names, read from the log or the report that it left.

    outcome.py KIND FILE STATUS

KIND says who wrote FILE: `once` (a single check), `rust` (nextest or cargo test), `python` (unittest), `cells` (the report
of the harness). The first line printed is `PASSED FAILED SKIPPED`; each further line names something that failed, with the
first line of its reason where the file has one.
"""

import json
import re
import sys

COLOURS = re.compile(r"\x1b\[[0-9;]*m")

# A line of nextest about a test that failed: `FAIL [   0.864s] (3/3) crate::binary path::to::test`.
NEXTEST_TEST = re.compile(r"^ +([A-Z][A-Z-]*) \[ *[0-9.]+s\] (?:\( *[0-9/]+\) )?(.+)$")
NEXTEST_GOOD = {"PASS", "SLOW", "LEAK", "SETUP"}

# How much of a reason is shown.
LONGEST = 160


def reason(text):
    """The first line of a reason, cut where it is long."""
    line = text.strip().partition("\n")[0].strip()
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def named(name, why=""):
    why = reason(why)
    return f"{name}: {why}" if why else name


def text_of(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return COLOURS.sub("", file.read())
    except FileNotFoundError:
        return ""


def once(path, status):
    """One check: the last line that calls itself an error is why it failed."""
    if status == 0:
        return (1, 0, 0), []
    errors = [line for line in text_of(path).splitlines() if re.match(r"(\S+: )?(error|fatal)\b", line, re.IGNORECASE)]
    return (0, 1, 0), errors[:1]


def rust(path, _status):
    """The summaries of nextest and of cargo's own test runner."""
    passed = failed = skipped = 0
    names, panics = [], {}
    lines = text_of(path).splitlines()
    summary = current = None
    for number, line in enumerate(lines):
        test = NEXTEST_TEST.match(line)
        if re.match(r" *Summary \[", line):
            summary = number
            for count, word in re.findall(r"([0-9]+) (\w+)", line.partition("]")[2]):
                if word == "passed":
                    passed += int(count)
                elif word == "failed" or word == "timed":
                    failed += int(count)
                elif word == "skipped":
                    skipped += int(count)
        elif test and test[1] not in NEXTEST_GOOD:
            if summary is None:
                current = test[2]
            else:
                names.append(test[2])
        elif re.match(r" *thread '.*panicked at", line) and number + 1 < len(lines):
            panics.setdefault(current, lines[number + 1])
        elif result := re.match(r"test result: .* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored", line):
            passed, failed, skipped = (total + int(one) for total, one in zip((passed, failed, skipped), result.groups()))
        elif summary is None and (test := re.match(r"test (\S+) \.\.\. FAILED$", line)):
            names.append(test[1])
    return (passed, failed, skipped), [named(name, panics.get(name, "")) for name in names]


def python(path, _status):
    """The summary of unittest."""
    text = text_of(path)
    count = lambda pattern: sum(map(int, re.findall(pattern, text, re.MULTILINE)))
    ran = count(r"^Ran ([0-9]+) tests?")
    bad = count(r"^FAILED .*failures=([0-9]+)") + count(r"^FAILED .*errors=([0-9]+)")
    skipped = count(r"^(?:OK|FAILED) .*skipped=([0-9]+)")
    # A block ends with the exception: the first line after it that is not indented.
    blocks = re.findall(r"^(?:FAIL|ERROR): (\S+) \((\S+?)\)\n(.*?)(?=^={70}|^Ran |\Z)", text, re.MULTILINE | re.DOTALL)
    names = []
    for test, owner, block in blocks:
        why = [line for line in block.splitlines() if re.match(r"[\w.]+(Error|Exception|Expired|Interrupt|Exit)\b", line)]
        names.append(named(owner if owner.endswith("." + test) else f"{owner}.{test}", why[0] if why else ""))
    return (ran - bad - skipped, bad, skipped), names


def cells(path, _status):
    """The report that the harness left; without one the run ended early, which its exit status says."""
    try:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
    except (OSError, ValueError):
        return (0, 0, 0), []
    summary = report["summary"]
    failed = [cell for cell in report["cells"] if cell["verdict"] in ("UNEXPECTED", "BROKEN")]
    names = [named(f"{cell['verdict']} {cell['id']}", next((one["message"] for one in cell["failures"]), "")) for cell in failed]
    return (summary["passed"], summary["failed"], summary["skipped"]), names


KINDS = {"once": once, "rust": rust, "python": python, "cells": cells}


def main():
    kind, path, status = sys.argv[1], sys.argv[2], int(sys.argv[3])
    counts, names = KINDS[kind](path, status)
    print(*counts)
    for name in names:
        print(name)


if __name__ == "__main__":
    main()
