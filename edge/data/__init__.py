"""Turns a camera's bytes into tensors, and tensors into the message of a result."""
