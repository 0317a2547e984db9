"""The HTML report: one file without outside references, plots as inline SVG."""
