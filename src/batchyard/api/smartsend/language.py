"""The texts of this door in other languages."""

from batchyard.language import Catalogue

translate = Catalogue("batchyard.api.smartsend", domain="smartsend").translate
"""Return an English text of this door in another language, its gaps filled in."""
