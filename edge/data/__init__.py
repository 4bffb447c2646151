"""From a camera's bytes to tensors, and from tensors to the words of a result."""
