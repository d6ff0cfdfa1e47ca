"""An archive of images: read from folders, tar shards and Parquet, and scored into Parquet."""
