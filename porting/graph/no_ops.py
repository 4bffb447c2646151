"""Removes nodes that do nothing at inference: Identity, and Dropout whose mask is not used."""

import onnx


class NoOps:
    """Removes idle nodes and connects their readers to the node's input.

    A node whose output is an output of the graph stays, since callers rely on that name.
    """

    def apply(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Returns a copy of the model without its idle nodes."""
        child = onnx.ModelProto()
        child.CopyFrom(model)
        graph = child.graph
        promised = {output.name for output in graph.output}
        for node in [node for node in graph.node if self._idle(node) and node.output[0] not in promised]:
            if any(extra in set().union(*(set(other.input) for other in graph.node)) for extra in node.output[1:]):
                continue
            graph.node.remove(node)
            for reader in graph.node:
                reader.input[:] = [node.input[0] if name == node.output[0] else name for name in reader.input]
        return child

    def _idle(self, node: onnx.NodeProto) -> bool:
        return node.op_type == "Identity" or (node.op_type == "Dropout" and len(node.input) <= 2)
