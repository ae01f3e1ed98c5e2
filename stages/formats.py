"""Formats of artifacts that a later version of the code may read: a report of old runs shows what the cache still has of them."""

METRICS = 2  # of metrics.json; raised when the report looks for something new in it
