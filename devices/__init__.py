"""Runs work: the interface that every device keeps, and one file for each kind of device."""
