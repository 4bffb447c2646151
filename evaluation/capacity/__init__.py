"""Computes how many cameras a box can serve."""
