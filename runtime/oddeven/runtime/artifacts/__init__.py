"""An artifact folder: one model's exported files, their manifest and reference."""
