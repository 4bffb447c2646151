"""Draws the page and the pictures of a comparison of schedulers."""
