"""NovaKey: a phone as a secure keyboard."""

__version__ = "0.1.0"
