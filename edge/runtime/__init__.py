"""Carries out the core's actions with threads and devices."""
