"""From somebody's ONNX file to one that can be ported."""
