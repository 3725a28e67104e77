"""`python -m aibridge.cli` is the command `aibridge`."""

from aibridge.cli import main

main()
