"""Notices that the world has changed and repairs the models it hurt: alarms, audits, responses, verdicts."""
