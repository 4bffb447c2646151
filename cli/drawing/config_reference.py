"""Makes docs/configuration.md, the keys of edge.yaml as a page in Markdown, from their JSON schema."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

INTRODUCTION = """\
# edge.yaml

Every key of the daemon's configuration. `make docs` makes this page from the code; a test says when it is out of date.

An unknown key is an error. Paths are relative to the file. `{LEEWAY_NAME}` in a text is replaced by the environment
variable of that name, so that passwords stay out of files. `leeway config check edge.yaml` reads a file as the daemon
would, and `leeway config schema` prints the schema for an editor. `examples/junction/edge.yaml` is a complete file.
"""
TITLES = {"PlugIn": "A part by import path", "StreamSettings": "streams", "AppSettings": "apps"}


def page(schema: Schema) -> str:
    """Returns the whole page: the file itself, then one section for each kind of table in it."""
    sections = [INTRODUCTION, "## The file\n", *table(schema)]
    for name, table_schema in schema["$defs"].items():
        if "properties" in table_schema:
            sections += [f"\n## {title(name)}\n", *described(table_schema), *table(table_schema)]
    return "\n".join(sections) + "\n"


def title(name: str) -> str:
    """Returns the title of a section, which is the key that holds the table."""
    return TITLES.get(name, name.removesuffix("Settings").lower())


def described(schema: Schema) -> list[str]:
    said = " ".join(schema.get("description", "").split())
    return [said + "\n"] if said else []


def table(schema: Schema) -> Iterator[str]:
    """Yields the rows of a table's keys."""
    yield "| key | is | if left out | meaning |"
    yield "|---|---|---|---|"
    for key, value in schema["properties"].items():
        default = "**needed**" if key in schema.get("required", ()) else written(value.get("default"))
        yield f"| `{key}` | {kind(value)} | {default} | {cell(value.get('description', ''))} |"


def written(default: Any) -> str:
    """Returns a default as it would stand in the file, one list or table per cell."""
    if default is None:
        return ""
    if isinstance(default, dict) and "use" in default:
        return f"`{{use: {default['use']}}}`"
    if isinstance(default, list | dict):
        return "see `leeway config schema`" if default else ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def kind(value: Schema) -> str:
    """Returns the type in words; names of tables link to their section."""
    if "$ref" in value:
        name = title(value["$ref"].rsplit("/", 1)[1])
        return f"[{name}](#{name.lower().replace(' ', '-')})"
    if "enum" in value:
        return " or ".join(f"`{option}`" for option in value["enum"])
    if options := value.get("anyOf") or value.get("allOf"):
        return " or ".join(kind(option) for option in options if option.get("type") != "null")
    if value.get("type") == "array":
        return f"list of {kind(value.get('items', {}))}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"names, each with {kind(value['additionalProperties'])}"
    return limited(value)


def limited(value: Schema) -> str:
    """Returns a plain type in words, with its limits."""
    words = {"string": "text", "boolean": "`true` or `false`", "integer": "whole number", "object": "table"}
    type_: str = value.get("type", "anything")
    name = "path" if value.get("format") == "path" else words.get(type_, type_)
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {value[key]}" for key, sign in signs.items() if key in value]
    return " ".join([name, ", ".join(limits)]).strip()


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
