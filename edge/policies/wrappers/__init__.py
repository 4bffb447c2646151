"""Policies around a policy."""
