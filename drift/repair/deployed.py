"""Describes what serves now as drift sees it: a backbone that it can run and a linear head that it can change."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.commands import RepairCandidate
from porting.formats.classification import Classification
from porting.formats.format import HeadFormat

Array = NDArray[Any]
CLASSIFICATION = Classification()


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """Computes logits = features @ weight.T + bias. weight: float32 [K, D]; bias: float32 [K].

    `names` and `transposed` remember how the head stage's graph wants its two inputs.
    """

    weight: Array
    bias: Array
    names: tuple[str, str] = ("head.weight", "head.bias")
    transposed: bool = False  # the graph takes weight as [D, K]
    format: HeadFormat = CLASSIFICATION  # what its outputs mean

    @classmethod
    def of(
        cls, arrays: Mapping[str, Array], features: Array, answers: Array, format: HeadFormat = CLASSIFICATION
    ) -> "LinearHead":
        """Returns the head behind the arrays of a head blob.

        Which way round the weight lies is found by what turns `features` [n, D] into `answers` [n, K], to 0.02 each.
        Raises `ValueError` when neither way does (the head is no plain linear layer).
        """
        matrices = [name for name, array in arrays.items() if np.ndim(array) == 2]
        vectors = [name for name, array in arrays.items() if np.ndim(array) == 1]
        if len(matrices) != 1 or len(vectors) > 1:
            raise ValueError(f"a head of arrays {sorted(arrays)} is no single linear layer")
        weight = np.asarray(arrays[matrices[0]], np.float32)
        classes, width = answers.shape[1], features.shape[1]
        bias = np.asarray(arrays[vectors[0]], np.float32) if vectors else np.zeros(classes, np.float32)
        names = (matrices[0], vectors[0] if vectors else "")
        for transposed in (False, True):
            head = cls(weight.T if transposed else weight, bias, names, transposed, format)
            if head.weight.shape == (classes, width) and np.allclose(head.answers(features), answers, atol=0.02):
                return head
        raise ValueError(f"a head of shape {weight.shape} does not turn the reference's features into its outputs")

    def answers(self, features: Array) -> Array:
        """Returns the answers [n, K] (`Signals.answer`, row by row) to features [n, D], both float32."""
        return self.format.probabilities(features @ self.weight.T + self.bias)

    def with_(self, weight: Array, bias: Array) -> "LinearHead":
        return replace(self, weight=np.asarray(weight, np.float32), bias=np.asarray(bias, np.float32))

    def arrays(self) -> dict[str, Array]:
        """Returns the arrays by graph input name, the way round that the graph wants them, C-contiguous float32."""
        weight = np.ascontiguousarray(self.weight.T if self.transposed else self.weight)
        return {self.names[0]: weight} | ({self.names[1]: self.bias} if self.names[1] else {})


@dataclass(frozen=True, slots=True, eq=False)
class DeployedModel:
    """Describes a variant by name, the ONNX bytes of its backbone (picture -> features), and its head.

    prior: class mix [K] that its outputs assume, where a repair has changed it; `None`: the reference's.
    """

    name: str
    graph: bytes
    head: LinearHead
    prior: Array | None = None

    def same_as(self, other: "DeployedModel") -> bool:
        """Returns whether both give the same answers, whatever their names are."""
        same_head = np.array_equal(self.head.weight, other.head.weight) and np.array_equal(
            self.head.bias, other.head.bias
        )
        return self.graph == other.graph and same_head

    def changed(self, name: str, candidate: RepairCandidate) -> "DeployedModel":
        """Returns the variant that a candidate becomes, under that name; what is `None` in it stays as it is."""
        head = self.head
        if candidate.head is not None:
            weight = candidate.head[head.names[0]]
            bias = candidate.head.get(head.names[1], head.bias)
            head = head.with_(weight.T if head.transposed else weight, bias)
        prior = self.prior if candidate.prior is None else candidate.prior
        return DeployedModel(name, candidate.graph or self.graph, head, prior)
