"""A model packed for a Raspberry Pi, with its installer."""
