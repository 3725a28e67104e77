"""Model servers: the only room that speaks HTTP outward."""

from aibridge.upstreams.routing import Router, from_config

__all__ = ["Router", "from_config"]
