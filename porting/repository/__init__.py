"""Stores models on disk as immutable blobs named by their content, described by variants, with
one pointer per model.
"""
