"""Datasets, from files to the input pipeline."""
