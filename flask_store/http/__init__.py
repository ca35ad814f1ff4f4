"""The addresses of a store at an application, and what they answer."""
