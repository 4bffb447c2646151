"""Answers tensors over HTTP, by the Open Inference Protocol v2."""
