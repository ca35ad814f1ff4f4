"""What no test may ever see shown."""

from __future__ import annotations

#: Stands for a secret key or a password.
SECRET = "s3cr3t-that-nobody-may-see"
