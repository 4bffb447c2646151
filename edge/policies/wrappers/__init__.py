"""Holds the policies that wrap another policy."""
