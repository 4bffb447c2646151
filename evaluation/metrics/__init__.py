"""Scores a run: answers, lanes, decisions, and how sure the numbers are."""
