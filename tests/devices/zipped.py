"""A device with a format of its own: ONNX files, compressed."""

import zlib

from devices.artefact import Artefact
from devices.cpu import Cpu


class Zipped(Cpu):
    """Runs ONNX files that are compressed. `seen`: the batches that it compiled for."""

    kind = "zipped"
    format = "onnx.zlib"

    def __init__(self):
        super().__init__("zip0")
        self.seen = []

    def compile(self, graph, target):
        self.seen.append(target.batches)
        return Artefact(self.format, zlib.compress(graph))

    def accepts(self, kind):
        return kind == "onnx.zlib"

    def load(self, graph, batches=(1,)):
        plain = graph.with_name(f"{graph.name}.plain")
        plain.write_bytes(zlib.decompress(graph.read_bytes()))
        return super().load(plain, batches)
