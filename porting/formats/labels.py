"""Settles a model's labels where the user gave none, and refuses a wrong number of them."""

from porting.errors import UserError
from porting.formats.format import ModelGraph


def labels_for(graph: ModelGraph, count: int | None, labels: tuple[str, ...] | None) -> tuple[str, ...]:
    """Returns the labels given, or "0", "1", … for a model of `count` classes (`None`: its output leaves it open).

    Raises `UserError` where the numbers differ, or where there is nothing to count.
    """
    if count is None and not labels:
        raise UserError(f"{graph.path}: the number of labels cannot be read off the output; give --labels")
    labels = labels or tuple(str(k) for k in range(count or 0))
    if count is not None and count != len(labels):
        raise UserError(f"{graph.path}: the model has {count} classes, {len(labels)} labels were given")
    return labels
