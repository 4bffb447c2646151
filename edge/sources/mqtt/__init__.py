"""Frames and results over MQTT."""
