"""The report of a demo run: a folder of messages in, report.json, report.html and a table out."""
