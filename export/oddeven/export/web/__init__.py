"""A folder that runs models in the visitor's browser."""
