#!/usr/bin/env python3
"""Prints docs/confgen-keys.md: every key of a spec with what it takes and what it means, from the JSON Schema.

    confgen schema | setup/confgen_keys.py
"""

import json
import re
import sys

HEAD = """# Keys of a spec

Generated from the schema that `confgen schema` prints; `make generate` writes it anew. [confgen.md](confgen.md) tells how specs
are used. Keys may be left out unless *needed* is said. `null` is as good as leaving a key out.
"""


def simplified(schema, defs):
    """A schema without the alternative `null`, and the definition that it refers to."""
    seen = dict(schema)
    for key in ("anyOf", "oneOf"):
        branches = [branch for branch in schema.get(key, []) if branch.get("type") != "null"]
        if len(branches) == 1:
            seen = {**branches[0], **{name: value for name, value in schema.items() if name != key}}
    if "$ref" in seen:
        target = simplified(defs[seen["$ref"].rpartition("/")[2]], defs)
        seen = {**target, **{name: value for name, value in seen.items() if name != "$ref"}}
    return seen


def alternatives(schema):
    return schema.get("anyOf") or schema.get("oneOf") or []


def words(schema, defs):
    """The fixed words that a value may be."""
    schema = simplified(schema, defs)
    if "const" in schema:
        return [schema["const"]]
    found = [word for word in schema.get("enum", []) if word is not None]
    for branch in alternatives(schema):
        found += words(branch, defs)
    return found


def kind(schema, defs):
    """What a value is, in a few words."""
    schema = simplified(schema, defs)
    if "x-not-supported" in schema:
        return "reserved"
    if "x-expected" in schema:
        return schema["x-expected"]
    fixed = words(schema, defs)
    if alternatives(schema):
        others = [kind(branch, defs) for branch in alternatives(schema) if not words(branch, defs)]
        return ", ".join(dict.fromkeys([f"`{word}`" for word in fixed] + others))
    if fixed:
        return ", ".join(f"`{word}`" for word in fixed)
    types = schema.get("type", "")
    types = [name for name in ([types] if isinstance(types, str) else types) if name != "null"]
    if "array" in types:
        return f"list: {kind(schema.get('items', {}), defs)}"
    if "object" in types:
        return "map"
    if "boolean" in types:
        return "`true`, `false`"
    if "integer" in types or "number" in types:
        low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
        name = "integer" if "integer" in types else "number"
        bounds = [f"from {low}"] if low is not None else []
        bounds += [f"to {high}"] if high is not None else []
        return " ".join([name] + bounds)
    return "text" if "string" in types else "any"


def cell(text):
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def members(schema, defs):
    """Every map that a value may be or hold, with the piece of the path that leads to it."""
    schema = simplified(schema, defs)
    if schema.get("properties"):
        yield "", schema
    for inner in (schema.get("patternProperties") or {}).values():
        yield from ((f".NAME{rest}", found) for rest, found in members(inner, defs))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from ((f".NAME{rest}", found) for rest, found in members(schema["additionalProperties"], defs))
    if isinstance(schema.get("items"), dict):
        yield from ((f"[]{rest}", found) for rest, found in members(schema["items"], defs))
    for branch in alternatives(schema):
        yield from members(branch, defs)


def section(path, schema, lines, defs, told):
    """The table of a map, then those of the maps in it; one that was told before is referred to."""
    told[json.dumps(schema["properties"], sort_keys=True)] = path
    lines += ["", f"## `{path}`" if path else "## The document", ""]
    if schema.get("description"):
        lines += [cell(schema["description"]), ""]
    lines += ["| key | value | meaning |", "|---|---|---|"]
    further = {}
    for name, key in schema["properties"].items():
        meaning = cell(simplified(key, defs).get("description", ""))
        if name in schema.get("required", []):
            meaning += " *Needed.*"
        # A profile is a patch of all this.
        for rest, found in members(key, defs) if name != "profiles" else []:
            own = f"{path}.{name}{rest}" if path else f"{name}{rest}"
            known = told.get(json.dumps(found["properties"], sort_keys=True))
            if known:
                meaning += f" Keys as of `{known}`."
            elif own in further:
                # Either of several maps: their keys stand in one table.
                further[own] = {**further[own], "properties": {**further[own]["properties"], **found["properties"]}, "required": []}
            else:
                further[own] = found
        lines.append(f"| `{name}` | {cell(kind(key, defs))} | {meaning} |")
    for own, found in further.items():
        section(own, found, lines, defs, told)


def main():
    schema = json.load(sys.stdin)
    lines = [HEAD.rstrip()]
    section("", {**schema, "description": ""}, lines, schema["$defs"], {})
    print("\n".join(lines))


if __name__ == "__main__":
    main()
