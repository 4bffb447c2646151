"""What can be asked for with tensors: models whose graphs can be read without the device that runs them."""

import pytest

from edge.core.events import Served
from edge.core.interfaces import Moment
from edge.sources.http.catalogue import Catalogue, is_ours
from porting.variant import STEP, OutputSpec, Stage, Variant

OUTPUT = OutputSpec("classification", ("a", "b"), "logits")


def model(name, *kinds, others=()):
    """A chain of stages of these kinds, and a variant of one stage for each other kind."""
    chain = tuple(Stage(kind, f"{name}-{place}") for place, kind in enumerate(kinds))
    beside = tuple(Stage(kind, f"{name}-{kind}") for kind in others)
    variants = tuple(Variant(name, stage.kind, (stage.digest,), OUTPUT) for stage in beside)
    return Served(Variant(name, "first", tuple(stage.digest for stage in chain), OUTPUT), (*chain, *beside), variants)


@pytest.mark.parametrize(
    ("kinds", "ours"),
    [(["onnx", "onnx"], True), (["plan"], False), (["onnx", "plan"], False), ([STEP], False)],
)
def test_a_model_is_listed_where_all_its_graphs_can_be_read(core, kinds, ours):
    box = core()
    event = model("eye", *kinds)
    box.do(event)
    catalogue = Catalogue({})
    parts = [*catalogue.observe(Moment(0, event, (), box.state))]
    assert ("eye" in catalogue.entries) == is_ours(event) == ours
    assert len(parts) == (len(kinds) if ours else 0)


def test_a_variant_that_cannot_be_read_is_no_version(core):
    box = core()
    event = model("eye", "onnx", others=("onnx", "plan"))
    box.do(event)
    catalogue = Catalogue({})
    assert len([*catalogue.observe(Moment(0, event, (), box.state))]) == 1
    assert [*catalogue.entries["eye"].versions] == ["first", "onnx"]
