"""Tests of the documents: links lead somewhere, and names of the contract are described."""

import os
import re
import tomllib
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def documents():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in ("target", ".git", "scenarios", "crates")]
        for name in files:
            if name.endswith(".md"):
                yield os.path.join(folder, name)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def prose(text):
    """Without fenced blocks."""
    return re.sub(r"(?ms)^```.*?^```$", "", text)


def anchors(text):
    """What links may point to: headings as forges name them, and anchors that are written out."""
    found = set(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"(?m)^#+ (.*)$", prose(text)):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "")).strip().lower()
        found.add(plain.replace(" ", "-"))
    return found


class Documents(unittest.TestCase):
    def test_links_lead_somewhere(self):
        lost = []
        for path in documents():
            for target in re.findall(r"\]\(([^)\s]+)\)", prose(read(path))):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                other = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
                if not os.path.exists(other):
                    lost.append(f"{os.path.relpath(path, ROOT)}: {target} does not exist")
                elif anchor and other.endswith(".md") and anchor not in anchors(read(other)):
                    lost.append(f"{os.path.relpath(path, ROOT)}: {target} has no such heading")
        self.assertEqual(lost, [])

    def test_the_python_api_describes_every_name(self):
        page = read(os.path.join(ROOT, "docs/python-api.md"))
        with open(os.path.join(ROOT, "docs/contract/names.toml"), "rb") as file:
            names = tomllib.load(file)
        wanted = [name for names in names["api"].values() for name in names]
        wanted += names["event"]["names"]
        wanted += [key.replace("phase_", "PHASE_") for keys in names["metric"].values() for key in keys]
        wanted += [key for key in names["environ"]["keys"] if key.startswith(("mod_", "apache."))]
        missing = [name for name in wanted if not re.search(rf"`{re.escape(name)}[`(]", page)]
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main()
