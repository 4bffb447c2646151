"""Loads whole serving systems, one YAML file each in this folder: a policy and what belongs to it in its paper.

`edge.yaml` has the same keys, so the daemon runs exactly what a comparison measured.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from edge.answers.single import Single
from edge.core.interfaces import AnswerRule, Observer, Policy
from edge.core.state import Estimator
from edge.plugins import About, PlugIn, Strict
from edge.policies.wrappers.default_stack import complete
from porting.errors import UserError

FOLDER = Path(__file__).parent
OWN_ESTIMATOR = PlugIn(use="edge.estimators.rolling:Rolling")  # where a system names none; the default of `edge.yaml`


class System(Strict):
    """Holds the content of one YAML file and its name."""

    name: str
    policy: PlugIn
    estimator: PlugIn | None = Field(None, description="how long the paper's system expects a batch to take")
    planners: tuple[PlugIn, ...] = Field((), description="its slow loops")
    answer: PlugIn | None = Field(None, description="takes the place of every app that asks one model; gets `model`")

    def make_policy(self, step_ms: float = 10.0) -> Policy:
        """Returns a new policy that has learnt nothing, wrapped in model loading and background work.

        `step_ms`: expected milliseconds that one step of background work may take.
        """
        return complete(self.policy.build(), step_ms)

    def make_estimator(self) -> Estimator:
        """Returns a new estimator, the default one if the system names none."""
        made: Estimator = (self.estimator or OWN_ESTIMATOR).build()
        return made

    def make_planners(self) -> tuple[Observer, ...]:
        """Returns new planners; empty if the system has none."""
        return tuple(planner.build() for planner in self.planners)

    def make_answers(self, answers: Mapping[str, AnswerRule], models: Iterable[str] = ()) -> dict[str, AnswerRule]:
        """Returns the answer rules by app, with the system's own rule for apps that ask one model.

        `answers`: app -> answer rule of the scenario.
        `models`: models that may also be asked for by their own name.
        """
        return replaced(self.answer, {model: Single(model) for model in models} | dict(answers))

    def parts(self) -> dict[str, PlugIn]:
        """Returns every plug-in by its place in the file, including plug-ins among the options of others."""
        named = {"policy": self.policy, "estimator": self.estimator, "answer": self.answer}
        found = {place: part for place, part in named.items() if part is not None}
        found |= {f"planners.{i}": part for i, part in enumerate(self.planners)}
        return {name: each for place, part in found.items() for name, each in within(place, part)}

    def abouts(self) -> dict[str, About]:
        """Returns the source of each part by its place; parts without an `about` are left out."""
        told = {place: getattr(part.kind(), "about", None) for place, part in self.parts().items()}
        return {place: about for place, about in told.items() if about is not None}

    def needs(self) -> frozenset[str]:
        """Returns what must be there for the system to make sense, a subset of `edge.plugins.NEEDS`."""
        return frozenset().union(*(about.needs for about in self.abouts().values()))

    def table(self) -> dict[str, Any]:
        """Returns the keys as they would stand in `edge.yaml`."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


def within(place: str, part: PlugIn) -> Iterator[tuple[str, PlugIn]]:
    """Yields the part and, recursively, every part among its options, each with its place."""
    yield place, part
    for name, option in (part.model_extra or {}).items():
        if isinstance(option, dict) and "use" in option:
            yield from within(f"{place}.{name}", PlugIn.model_validate(option))


def replaced(answer: PlugIn | None, answers: Mapping[str, AnswerRule]) -> dict[str, AnswerRule]:
    """Returns the answer rules with `answer`, built for its model, in the place of every `Single`."""
    if answer is None:
        return dict(answers)
    return {app: answer.build(model=old.model) if isinstance(old, Single) else old for app, old in answers.items()}


def systems() -> dict[str, System]:
    """Returns all systems of the folder, by name."""
    return {file.stem: load(file) for file in sorted(FOLDER.glob("*.yaml"))}


def system(name: str, beside: Path = Path()) -> System:
    """Returns the system of this name, or of this YAML file; a relative path starts at `beside`.

    Raises `UserError` if there is neither.
    """
    if name.endswith((".yaml", ".yml")):
        return load(beside / name)
    file = FOLDER / f"{name}.yaml"
    if "/" in name or not file.exists():
        known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}, or the path of a YAML file"
        raise UserError(f"no system is called {name!r}; {hint}")
    return load(file)


def load(file: Path) -> System:
    """Returns the system of a file; raises `UserError` with the first thing that is wrong and where."""
    try:
        table = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; give the name or the file of a system") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(table, dict):
        raise UserError(f"{file}: expected the keys policy, estimator, planners, answer")
    try:
        return System.model_validate({"name": file.stem, **table})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{file}: {where}: {first['msg']}; keys: policy, estimator, planners, answer") from error
