"""Prints how many cells of a harness report passed, failed and were skipped."""

import json
import sys

try:
    with open(sys.argv[1]) as file:
        summary = json.load(file)["summary"]
    print(summary["passed"], summary["failed"], summary["skipped"])
except OSError:
    # The run ended before it could write its report; its exit status says so.
    print(0, 0, 0)
