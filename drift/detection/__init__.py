"""Notices another world: window tests, their thresholds, and the monitor that runs them."""
