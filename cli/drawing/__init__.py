"""Shares between all pages and pictures: colours, canvas, HTML."""
