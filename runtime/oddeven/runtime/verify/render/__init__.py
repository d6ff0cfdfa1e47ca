"""A report as HTML, Markdown, JUnit and GitHub annotations."""
