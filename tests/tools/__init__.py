"""Tests of aibridge.tools: MCP servers for real, in this process, as programs and over sockets."""
