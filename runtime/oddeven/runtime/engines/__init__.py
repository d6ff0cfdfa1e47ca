"""What opens and executes a model file."""
