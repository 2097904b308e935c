"""Tests of what `make test` says about its stages."""

import json
import os
import sys
import tempfile
import unittest

SETUP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, SETUP)

import outcome  # noqa: E402

NEXTEST = """\
    Starting 4 tests across 2 binaries
     SIGABRT [   0.043s] (1/4) nx m::ab
  stdout ───
    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out
  stderr ───
    (test aborted with signal 6: SIGABRT)
\x1b[31;1m        FAIL\x1b[0m [   0.864s] (3/4) nx m::bad
    test m::bad ... FAILED
    thread 'm::bad' (14027) panicked at src/lib.rs:1:60:
    oh, no
────────────
     Summary [   0.876s] 3 tests run: 1 passed, 1 failed, 1 timed out, 2 skipped
     SIGABRT [   0.043s] (1/4) nx m::ab
        FAIL [   0.864s] (3/4) nx m::bad
error: test run failed
"""

CARGO = """\
test a ... ok
test m::bad ... FAILED
test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
"""

UNITTEST = """\
..FE
======================================================================
ERROR: test_one (test_x.Case.test_one)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "x.py", line 1, in test_one
FileNotFoundError: [Errno 2] No such file

======================================================================
FAIL: test_two (test_x.Case)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "x.py", line 2, in test_two
AssertionError: 1 != 2

----------------------------------------------------------------------
Ran 5 tests in 0.001s

FAILED (failures=1, errors=1, skipped=1)
"""

REPORT = {
    "summary": {"passed": 7, "failed": 2, "skipped": 1},
    "cells": [
        {"id": "a/one[mpm=event]", "verdict": "HEALTHY", "failures": []},
        {"id": "b/two", "verdict": "UNEXPECTED", "failures": [{"message": "`x` does not hold"}, {"message": "more"}]},
        {"id": "c/three", "verdict": "BROKEN", "failures": [{"message": "no space\nleft " + "x" * 300}]},
    ],
}


class Outcomes(unittest.TestCase):
    def read(self, kind, text, status=1):
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            return outcome.KINDS[kind](file.name, status)

    def test_nextest(self):
        self.assertEqual(self.read("rust", NEXTEST), ((1, 2, 2), ["nx m::ab", "nx m::bad: oh, no"]))

    def test_cargo_test(self):
        self.assertEqual(self.read("rust", CARGO), ((8, 1, 2), ["m::bad"]))

    def test_unittest(self):
        counts, names = self.read("python", UNITTEST)
        self.assertEqual(counts, (2, 2, 1))
        self.assertEqual(
            names,
            ["test_x.Case.test_one: FileNotFoundError: [Errno 2] No such file", "test_x.Case.test_two: AssertionError: 1 != 2"],
        )
        self.assertEqual(self.read("python", "...\nRan 3 tests in 0.1s\n\nOK (skipped=1)\n", 0), ((2, 0, 1), []))

    def test_cells(self):
        counts, names = self.read("cells", json.dumps(REPORT))
        self.assertEqual(counts, (7, 2, 1))
        self.assertEqual(names, ["UNEXPECTED b/two: `x` does not hold", "BROKEN c/three: no space"])
        self.assertEqual(outcome.cells("/nonexistent", 1), ((0, 0, 0), []))

    def test_a_long_reason_is_cut(self):
        self.assertEqual(len(outcome.reason("x" * 500)), outcome.LONGEST)

    def test_a_single_check(self):
        log = "   Compiling x\nerror[E0308]: mismatched types\nerror: could not compile\n"
        self.assertEqual(self.read("once", log, 101), ((0, 1, 0), ["error[E0308]: mismatched types"]))
        self.assertEqual(self.read("once", log, 0), ((1, 0, 0), []))


if __name__ == "__main__":
    unittest.main()
