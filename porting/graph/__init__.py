"""Transforms ONNX graphs, one transformation per file; each result is compared with its parent before it may serve."""
