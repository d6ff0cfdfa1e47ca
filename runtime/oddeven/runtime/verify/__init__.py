"""The gate over exported files, and its reports."""
