"""Threads and devices: what carries out the core's actions."""
