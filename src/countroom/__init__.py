"""Countroom: the money and data core of a licensed online casino."""

__version__ = "0.1.0"
