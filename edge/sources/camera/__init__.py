"""Publishes files as a camera would: for trials, demonstrations and load."""
