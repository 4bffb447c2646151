"""Implements the command `leeway`, one thin file per verb. Output is for people; `--json` is for programs."""
