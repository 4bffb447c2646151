"""Runs the demo: a broker, cameras, a daemon, a drift, a repair, and a record of all of it."""
