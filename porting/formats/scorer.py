"""Scores many answers of one model at once, whatever its format: what accuracy is in porting, and harm in drift."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from porting.errors import UserError
from porting.formats.classification import Classification
from porting.formats.format import Array, HeadFormat, Objects
from porting.formats.registry import format_of
from porting.variant import OutputSpec


@dataclass(frozen=True, slots=True)
class Scorer:
    """Binds a format to the output of one model. `labels`: the truth about each picture, as indices of its labels."""

    format: HeadFormat
    output: OutputSpec

    @classmethod
    def of(cls, output: OutputSpec) -> "Scorer":
        """Returns the scorer of a stored output, whose format must be a `HeadFormat`. Raises `UserError`."""
        found = format_of(output)
        if not isinstance(found, HeadFormat):
            raise UserError(f"output format {found.name!r} has no head whose answers can be scored row by row")
        return cls(found, output)

    @classmethod
    def of_labels(cls, count: int) -> "Scorer":
        """Returns the scorer of a classifier whose labels are "0", "1", … ."""
        return cls.of(OutputSpec(Classification.name, tuple(map(str, range(count))), ""))

    @property
    def classes(self) -> int:
        """Returns how many labels there are; a guess is right once in so many times."""
        return len(self.output.labels)

    def score(self, objects: Objects, label: int) -> float:
        """Returns how right an answer is about a picture of that label, 0..1."""
        return self.format.score(objects, self.format.truth(self.output, label))

    def scores(self, objects: Sequence[Objects], labels: Iterable[int]) -> Array:
        """Returns the score of each picture, float64 [n], 0..1."""
        pairs = zip(objects, labels, strict=True)
        return np.array([self.score(each, int(label)) for each, label in pairs], np.float64)

    def read(self, answers: Array) -> list[Objects]:
        """Returns what answers [n, K] (`Signals.answer`, row by row) say."""
        return [*self.format.read_rows(self.output, answers)]

    def of_answers(self, answers: Array, labels: Iterable[int]) -> Array:
        """Returns the score of each of the answers [n, K], float64 [n], 0..1."""
        return self.scores(self.read(answers), labels)

    def excess(self, objects: Sequence[Objects], labels: Iterable[int]) -> float:
        """Returns how far one label's share of the answers exceeds its share of the truth, -1..1; 0 without pictures.

        1: the model says one label all the time, and it is never true.
        """
        said = self._shares(objects)
        true = self._shares([self.format.truth(self.output, int(label)) for label in labels])
        return float(max((share - true[k] for k, share in enumerate(said)), default=0.0))

    def _shares(self, objects: Sequence[Objects]) -> list[float]:
        found = [each.label for answer in objects for each in answer]
        return [found.count(label) / max(1, len(objects)) for label in self.output.labels]
