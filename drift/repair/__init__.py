"""Repairs a model, by the cheapest way first, and holds what the ways work with."""
