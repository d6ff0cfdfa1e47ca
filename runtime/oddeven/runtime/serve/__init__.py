"""Models behind HTTP: a page, an API and metrics."""
