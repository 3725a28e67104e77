"""Model servers: the only room that speaks HTTP outward."""

from aibridge.upstreams.model_list import ModelList
from aibridge.upstreams.routing import Router, from_config

__all__ = ["ModelList", "Router", "from_config"]
