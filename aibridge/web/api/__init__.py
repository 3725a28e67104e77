"""`/api`: what operators ask and change, as JSON, described by one table of routes.

A route is an `ApiRoute` in the table that `app.py` puts together; reading of queries and bodies, who may
call, errors and the OpenAPI document are the same for all. What a route does is left to its room.
"""

from aibridge.web.api.describing import ApiRoute, Asked, Nothing, Query
from aibridge.web.api.guarding import THIS_MACHINE, Admin, AdminGuard, only_this_machine
from aibridge.web.api.keys_routes import KeyRoutes
from aibridge.web.api.running_routes import Reloaded, RunningRoutes
from aibridge.web.api.serving import Api
from aibridge.web.api.usage_routes import UsageRoutes

__all__ = [
    "THIS_MACHINE",
    "Admin",
    "AdminGuard",
    "Api",
    "ApiRoute",
    "Asked",
    "KeyRoutes",
    "Nothing",
    "Query",
    "Reloaded",
    "RunningRoutes",
    "UsageRoutes",
    "only_this_machine",
]
