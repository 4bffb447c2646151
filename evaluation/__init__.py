"""Compares schedulers, computes bounds and finds capacities: measures a box offline and never runs on it."""
