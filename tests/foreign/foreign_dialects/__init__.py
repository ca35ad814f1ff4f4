"""Dialects of Flask-Store that are not its own."""
