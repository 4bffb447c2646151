"""Runs pictures through a graph in slices that a busy lane can spare."""

from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.interface import DeviceError, Engine
from drift.jobs import Clock
from drift.samples import Pictures
from porting.images import prepare
from porting.variant import InputSpec

Array = NDArray[Any]
LoadGraph = Callable[[bytes], Engine]  # an ONNX file's bytes -> an engine on the device that the steps run on

CHUNK_MAX = 16


class BackboneRunner:
    """Runs backbones for drift in slices.

    A slice is one engine call or one load of a graph; a load cannot be cut into slices, so it holds a lane for as long
    as it takes: some milliseconds even for a small model.

    Args:
        load: loads ONNX bytes; called inside a step. The engine is closed when the pass ends.
        input: how a picture becomes the graph's input.
        features: name of the graph's output [N, D] that the head takes.
        clock: nanoseconds; measures slices.
        slice_ns: aim for one engine call; the first call of a graph runs one picture.
    """

    def __init__(self, load: LoadGraph, input: InputSpec, features: str, clock: Clock, slice_ns: int = 3_000_000):
        self.load, self.input, self.output = load, input, features
        self.clock, self.slice_ns = clock, slice_ns

    def features(self, graph: bytes, images: Pictures) -> Generator[None, None, Array]:
        """Returns the features, float32 [n, D], of n pictures, each uint8 [h, w, 3], in slices.

        Shape [0, 0] without pictures. Raises `DeviceError` when the graph does not load or run.
        """
        engine = self.load(graph)
        try:
            parts = []
            for outputs, _ in self.chunks(engine, images, {}):
                parts.append(np.asarray(outputs[self.output], np.float32))
                yield
            return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
        finally:
            engine.close()

    def chunks(
        self, engine: Engine, images: Pictures, extra: Mapping[str, Array]
    ) -> Generator[tuple[dict[str, Array], int], None, None]:
        """Yields (outputs, number of pictures) chunk after chunk; sizes follow what the last call took, at most 16.

        extra: inputs handed over at every call. Raises `DeviceError` for a graph of a fixed batch other than 1.
        """
        sizes = {spec.name: spec.shape for spec in engine.inputs}
        fixed = sizes.get(self.input.name, (None,))[0]
        if fixed not in (None, 1):
            raise DeviceError(f"graph takes batches of {fixed} only; a free batch dimension or 1 is needed")
        at, chunk = 0, 1
        while at < len(images):
            began = self.clock()
            batch = np.stack([prepare(image, self.input) for image in images[at : at + chunk]])
            outputs = engine.run({self.input.name: batch, **extra})
            each = max(1, (self.clock() - began) // len(batch))
            yield outputs, len(batch)
            at += len(batch)
            if fixed is None:
                chunk = max(1, min(CHUNK_MAX, 2 * chunk, self.slice_ns // each))
