"""Who may call and how much: keys, their limits and budgets.

Knows neither the web nor the records: where keys rest, what a round costs and who asks are protocols that
`app.py` fills.
"""

from aibridge.access.administration import Administration
from aibridge.access.opening import Access

__all__ = ["Access", "Administration"]
