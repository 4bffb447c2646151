"""Contracts are run over every class of a folder: a new file is held to them without being named anywhere."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any


def classes_in(package: str, method: str) -> list[type]:
    """Every class that a module of the package defines and that has the kind's main method."""
    return sorted(set(found_in(package, method)), key=lambda kind: kind.__name__)


def found_in(package: str, method: str) -> Iterator[type]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__ == module.name and callable(getattr(kind, method, None)):
                yield kind


KINDS: dict[str, tuple[str, str]] = {
    "policy": ("edge.policies", "decide"),
    "answer": ("edge.answers", "opened"),
    "estimator": ("edge.estimators", "learn"),
}


def pytest_generate_tests(metafunc: Any) -> None:
    """A test that takes `policy_class`, `answer_class` or `estimator_class` runs once for each of them."""
    for kind, (package, method) in KINDS.items():
        name = f"{kind}_class"
        if name in metafunc.fixturenames:
            found: list[type] = classes_in(package, method)
            assert found, f"no {kind} found in {package}"
            metafunc.parametrize(name, found, ids=[each.__name__ for each in found])
