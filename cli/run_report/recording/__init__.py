"""Reads what a run left on disk and matches it with the truth."""
