"""A camera made of files: for trials, demonstrations and load."""
