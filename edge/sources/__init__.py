"""Where frames come from and results go: MQTT, the embedded broker, cameras."""
