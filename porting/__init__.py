"""Brings models to this box: intake, passes, cuts, measurements, and the repository they end in."""
