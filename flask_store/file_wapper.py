"""The name under which :class:`~flask_store.files.FileWrapper` was documented."""

from .files import FileWrapper as FileWrapper
