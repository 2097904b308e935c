"""Writes docs/lint-rules.md from what `confgen explain --json` prints (standard input)."""

import json
import sys

HEAD = """# Rules of confgen lint

<!-- Made by `make generate` from the rules themselves (crates/confgen/src/lint/rules). -->

[Lint your Apache configuration](lint.md) shows how to use them. `confgen explain CODE` prints the same text.

| code | finds | usually |
|---|---|---|
"""


def cell(text):
    return text.replace("|", "\\|")


def section(entry):
    rule = entry["rule"]
    return f"""
## {entry["code"]}: {entry["title"]}

{entry["cause"]}

{entry["fix"]}

```apache
{rule["bad"]}
```

Better:

```apache
{rule["good"]}
```
"""


def main():
    entries = [entry for entry in json.load(sys.stdin) if "rule" in entry]
    rows = [
        f"| [{entry['code']}](#{anchor(entry)}) | {cell(entry['title'])} | {entry['rule']['severity']} |\n" for entry in entries
    ]
    print(HEAD + "".join(rows) + "".join(section(entry) for entry in entries), end="")


def anchor(entry):
    kept = (letter for letter in f"{entry['code']}: {entry['title']}".lower() if letter.isalnum() or letter in " -_")
    return "".join(kept).replace(" ", "-")


main()
