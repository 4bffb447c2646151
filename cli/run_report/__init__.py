"""Makes the report of a demo run: a folder of messages in; report.json, report.html and a table out."""

from cli.run_report.write import report_of, write_images, write_report

__all__ = ["report_of", "write_images", "write_report"]
