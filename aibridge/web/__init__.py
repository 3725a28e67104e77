"""ASGI only: routes, replies, headers; what HTTP asks of aibridge."""
