"""The command `leeway`: one thin file per verb. What it prints is for people; `--json` is for programs."""
