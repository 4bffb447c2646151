"""Passes: what does nothing goes, what would change the answers is refused."""

import onnx
import pytest
from onnx import helper

from porting.errors import UserError
from porting.graph.imported_model import ImportedModel
from porting.graph.no_ops import NoOps
from porting.graph.passes import transform


def idle_model(models, output_by_identity=False):
    """image -> Identity -> Dropout -> Relu (-> Identity) -> out"""
    nodes = [
        helper.make_node("Identity", ["image"], ["a"]),
        helper.make_node("Dropout", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c" if output_by_identity else "out"]),
    ]
    if output_by_identity:
        nodes.append(helper.make_node("Identity", ["c"], ["out"]))
    shape = ["N", 3, 4, 4]
    return models.model_of(nodes, [models.value("image", shape)], [models.value("out", shape)])


class Halve:
    """A pass that does harm: every Relu becomes a Sigmoid."""

    def apply(self, model):
        child = onnx.ModelProto()
        child.CopyFrom(model)
        for node in child.graph.node:
            node.op_type = "Sigmoid" if node.op_type == "Relu" else node.op_type
        return child


def kinds(model):
    return [node.op_type for node in model.graph.node]


def test_idle_nodes_go_and_the_parent_stays_as_it_was(models, cpu, tmp_path):
    model = idle_model(models)
    taken = ImportedModel(model, tmp_path / "m.onnx")
    transform(taken, [NoOps()], cpu)
    assert kinds(taken.model) == ["Relu"]
    assert kinds(model) == ["Identity", "Dropout", "Relu"]
    assert taken.repairs == ["pass NoOps: 3 nodes became 1, outputs as before"]


def test_the_graphs_own_output_keeps_its_name(models, cpu, tmp_path):
    taken = ImportedModel(idle_model(models, output_by_identity=True), tmp_path / "m.onnx")
    transform(taken, [NoOps()], cpu)
    assert kinds(taken.model) == ["Relu", "Identity"]


def test_a_pass_that_changes_answers_ends_the_port(models, cpu, tmp_path):
    taken = ImportedModel(idle_model(models), tmp_path / "m.onnx")
    with pytest.raises(UserError, match=r"pass Halve: outputs moved by .* the model was not ported"):
        transform(taken, [Halve()], cpu)
    assert kinds(taken.model) == ["Identity", "Dropout", "Relu"]
