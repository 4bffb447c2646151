"""Computes what no scheduler can exceed on a scenario."""
