"""Holds parts that several policies share."""
