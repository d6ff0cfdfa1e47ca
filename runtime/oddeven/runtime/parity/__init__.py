"""Whether two models predict alike: statistics of numbers, without files or engines."""
