"""Translations between dialects, for upstreams that do not speak the client's: one package a pair. Pure."""

from aibridge.dialects.translating.base import KEPT, Asked, Translation, Translator
from aibridge.dialects.translating.responses_to_chat import ResponsesToChat

TRANSLATORS: tuple[Translator, ...] = (ResponsesToChat(),)
"""Every translation that the bridge knows, the better ones of a dialect first."""

__all__ = ["KEPT", "TRANSLATORS", "Asked", "Translation", "Translator"]
