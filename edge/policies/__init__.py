"""Holds the policies, one file each: what a free lane does next."""
