"""Checks what a port has to pass: equivalence, speed, accuracy."""
