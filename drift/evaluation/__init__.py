"""Decides on labels, by tests of hypotheses, whether a drift does harm and whether a repair helps."""
