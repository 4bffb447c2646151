"""Implements `leeway plan`: checks the options, measures the box, simulates cameras, and prints the result."""
