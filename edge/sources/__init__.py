"""Brings frames and tensors in and results out: MQTT, the embedded broker, HTTP, cameras."""
