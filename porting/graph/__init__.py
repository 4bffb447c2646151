"""One transformation of a model per file; each result is compared with its parent before it may serve."""
