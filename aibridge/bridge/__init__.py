"""The engine: one exchange, from the client's request to its one ending."""
