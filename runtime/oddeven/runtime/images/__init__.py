"""From what a user gives to the pixels that a model takes."""
