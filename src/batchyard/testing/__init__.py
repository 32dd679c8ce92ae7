"""For authors of providers: what every provider must do, as a test class; needs pytest."""

from batchyard.testing.conformance import ProviderConformance
from batchyard.testing.http_conformance import HttpProviderConformance
from batchyard.testing.server import Arrived, HttpServer, Line
from batchyard.testing.world import Book, Fault, Served, World

__all__ = [
    "Arrived",
    "Book",
    "Fault",
    "HttpProviderConformance",
    "HttpServer",
    "Line",
    "ProviderConformance",
    "Served",
    "World",
]
