"""Noticing that the world has changed, and repairing the models it hurt: signals, alarms, audits, responses, verdicts."""
