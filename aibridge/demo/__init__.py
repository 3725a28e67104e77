"""What makes aibridge work with nothing but this machine: a scripted model and a small MCP server.

`aibridge demo`, the tests and the benchmarks use them; nothing else imports this room.
"""
