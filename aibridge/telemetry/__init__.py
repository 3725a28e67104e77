"""What operators see: the log now, metrics and traces when they come."""
