"""The harness: real servers, real processes, real sockets on loopback, and nothing left behind."""
