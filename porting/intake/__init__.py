"""Brings any ONNX file into the form that can be ported, or refuses it."""
