"""Brings frames in and publishes results over MQTT."""
