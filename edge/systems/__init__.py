"""Whole serving systems, one YAML file each in this folder: a policy, and what belongs to it in its paper.

The same keys stand in `edge.yaml`, so what a comparison runs is what the daemon runs.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from edge.answers.single import Single
from edge.core.interfaces import About, AnswerRule, Observer, Policy
from edge.core.state import Estimator
from edge.plugins import PlugIn, Strict
from edge.policies.wrappers.default_stack import complete
from porting.errors import UserError

FOLDER = Path(__file__).parent
OWN_ESTIMATOR = PlugIn(use="edge.estimators.rolling:Rolling")  # of a system that does not care, as in `edge.yaml`


class System(Strict):
    """What a file of this folder holds, and its name."""

    name: str
    policy: PlugIn
    estimator: PlugIn | None = Field(None, description="how long the paper's system expects a batch to take")
    planners: tuple[PlugIn, ...] = Field((), description="its slow loops")
    answer: PlugIn | None = Field(None, description="takes the place of every app that asks one model; gets `model`")

    def make_policy(self, step_ms: float = 10.0) -> Policy:
        """Anew, with nothing learnt, within residency and background work."""
        return complete(self.policy.build(), step_ms)

    def make_estimator(self) -> Estimator:
        made: Estimator = (self.estimator or OWN_ESTIMATOR).build()
        return made

    def make_planners(self) -> tuple[Observer, ...]:
        return tuple(planner.build() for planner in self.planners)

    def make_answers(self, answers: Mapping[str, AnswerRule], models: Iterable[str] = ()) -> dict[str, AnswerRule]:
        """By app. `models`: ones that may be asked for by their own name as well."""
        return replaced(self.answer, {model: Single(model) for model in models} | dict(answers))

    def parts(self) -> dict[str, PlugIn]:
        """Every plug-in of it, by the place it has in the file; also those that stand within another one."""
        named = {"policy": self.policy, "estimator": self.estimator, "answer": self.answer}
        found = {place: part for place, part in named.items() if part is not None}
        found |= {f"planners.{i}": part for i, part in enumerate(self.planners)}
        return {name: each for place, part in found.items() for name, each in within(place, part)}

    def abouts(self) -> dict[str, About]:
        """Where each part comes from; a part that does not say is left out."""
        told = {place: getattr(part.kind(), "about", None) for place, part in self.parts().items()}
        return {place: about for place, about in told.items() if about is not None}

    def needs(self) -> frozenset[str]:
        """Of `edge.core.interfaces.NEEDS`: what must be there for the system to be what it is."""
        return frozenset().union(*(about.needs for about in self.abouts().values()))

    def table(self) -> dict[str, Any]:
        """The keys as they would stand in `edge.yaml`."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


def within(place: str, part: PlugIn) -> Iterator[tuple[str, PlugIn]]:
    """The part, and every part among its options."""
    yield place, part
    for name, option in (part.model_extra or {}).items():
        if isinstance(option, dict) and "use" in option:
            yield from within(f"{place}.{name}", PlugIn.model_validate(option))


def replaced(answer: PlugIn | None, answers: Mapping[str, AnswerRule]) -> dict[str, AnswerRule]:
    """`answer`, built with that model, for every app that asks one model; the other apps stay as they are."""
    if answer is None:
        return dict(answers)
    return {app: answer.build(model=old.model) if isinstance(old, Single) else old for app, old in answers.items()}


def systems() -> dict[str, System]:
    """All that are in the folder, by name."""
    return {file.stem: load(file) for file in sorted(FOLDER.glob("*.yaml"))}


def system(name: str, beside: Path = Path()) -> System:
    """The one of this name, or of this file; a relative path starts at `beside`. Raises `UserError` for neither."""
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
    """Raises `UserError` for a file that is none, with the first thing wrong and where."""
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
