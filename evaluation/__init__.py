"""Comparisons, bounds, capacity: all that is measured about a box and never runs on it."""
