"""Validators for the file fields of WTForms and Flask-WTF, and a field.

Each validator checks every file of a field. A form that takes several files is not safe
if only one of them is checked (CVE-2023-31047). The validators do not change the
position of a file. Flask-WTF's ``FileRequired`` checks that there is a file.

- ``checks.py``: the validators.
- ``field.py``: :class:`UploadField`.
- ``keeping.py``: the files of forms that did not pass, until the form is sent again.
"""

from ..filetypes.contents import agrees as agrees
from .checks import EveryFile as EveryFile
from .checks import FileExtension as FileExtension
from .checks import FileSize as FileSize
from .checks import FileType as FileType
from .checks import ImageSize as ImageSize
from .field import KeptFile as KeptFile
from .field import UploadField as UploadField

for _public in (
    EveryFile,
    FileExtension,
    FileSize,
    FileType,
    ImageSize,
    KeptFile,
    UploadField,
):
    _public.__module__ = __name__
