"""Implements `leeway bench`: what to compare, the runs, cards of the systems, tables, a JSON document."""
