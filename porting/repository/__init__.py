"""Models on disk, named by content."""
