"""Noticing that the world has changed, and repairing the models it hurt: alarms, audits, responses, verdicts."""
