"""Event loops, threads and greenlets."""
