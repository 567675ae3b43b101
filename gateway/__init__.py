"""The Connection Gateway: a forward proxy that holds people's connections and enforces each one's policy."""

__version__ = "0.1.0"
