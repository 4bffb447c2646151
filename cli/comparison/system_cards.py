"""Describes systems for `leeway bench schedulers --list`: paper, options and their sources, deviations."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from edge.plugins import PlugIn
from edge.systems import System

Json = dict[str, Any]


def cards(systems: Iterable[System]) -> list[Json]:
    return [card(system) for system in systems]


def card(system: System) -> Json:
    parts = [part(place, plug_in) for place, plug_in in system.parts().items()]
    return {"system": system.name, "needs": sorted(system.needs()), "parts": parts}


def part(place: str, plug_in: PlugIn) -> Json:
    """Returns one plug-in of a system as JSON; paper, sources and deviations are empty where its class states none."""
    about = getattr(plug_in.kind(), "about", None)
    sources = about.sources if about else {}
    return {
        "place": place,
        "use": plug_in.use,
        "paper": about.paper if about else "",
        "options": [
            {"name": name, "value": value, "source": sources.get(name, "")} for name, value in options(plug_in).items()
        ],
        "deviations": list(about.deviations) if about else [],
    }


def options(plug_in: PlugIn) -> Json:
    """Returns options as the system sets them, else their defaults; none for those that have no default."""
    return {**defaults(plug_in.kind()), **{key: value for key, value in plug_in.model_dump().items() if key != "use"}}


def defaults(kind: Any) -> Json:
    """Returns the default of each public option of a plug-in; empty where its class is not a dataclass."""
    if not is_dataclass(kind):
        return {}
    found = {}
    for field in fields(kind):
        if field.init and not field.name.startswith("_"):
            made = field.default_factory
            found[field.name] = field.default if made is MISSING else made()
    return {name: value for name, value in found.items() if value is not MISSING}


def lines(shown: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """Yields style and text of each line, for a terminal."""
    for one in shown:
        needs = f"   needs {', '.join(one['needs'])}" if one["needs"] else ""
        yield "bold", f"{one['system']}{needs}"
        for each in one["parts"]:
            yield "", f"  {each['place']:<10} {each['use']}"
            if each["paper"]:
                yield "dim", f"             {each['paper']}"
            for option in each["options"]:
                source = f"  — {option['source']}" if option["source"] else ""
                yield "", f"             {option['name']} = {option['value']}{source}"
            for deviation in each["deviations"]:
                yield "", f"             differs: {deviation}"
        yield "", ""
