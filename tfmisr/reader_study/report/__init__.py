"""The report of a reader study: one HTML file, its tables as CSV, its numbers as JSON."""
