"""One variant of one picture, made in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import typing as t
from dataclasses import asdict
from pathlib import Path

from ..concurrency.greenlets import offload
from ..exceptions import BadPicture
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..exceptions import StoreUnavailable
from .spec import Spec

#: How long making a variant may take, in seconds, and how long it may compute. Gunicorn
#: ends a worker after 30.
TIMEOUT, COMPUTING = 20, 15
#: The largest variant, in bytes.
LARGEST = 512 * 1024**2
#: The program that makes a variant.
CHILD = Path(__file__).with_name("child.py")
#: The signals with which somebody else ends a process, such as a system that has no
#: memory left for all of them. It is not the picture's fault.
STOPPED = ("SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGTERM")
#: The variables of the environment that the program gets: where libraries and temporary
#: files are. The others may be secrets of the application.
VARIABLES = ("LD_LIBRARY_PATH", "PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")


class Limits(t.NamedTuple):
    """What is accepted as a picture, as the settings ``STORE_IMAGE_...`` say.

    :param formats: in lower case, such as ``("jpeg", "png")``.
    :param max_pixels: width times height, of all frames that are used.
    :param max_size: in bytes.
    """

    formats: tuple[str, ...]
    max_pixels: int
    max_size: int


def render(source: t.IO[bytes], spec: Spec, limits: Limits) -> bytes:
    """Make a variant.

    :param source: the picture, a file of the operating system, at its beginning. It is
        for this call alone.
    :param spec: in a format that is not ``"auto"``.
    :return: the bytes of the variant.
    :raises BadPicture: if the file is no picture that may be decoded. Then it will
        never be one.
    :raises NotConfiguredError: if Pillow is not installed.
    :raises StoreError: if the variant cannot be made now.
    """
    source.flush()  # the process sees what the system has
    size = os.fstat(source.fileno()).st_size
    if size > limits.max_size:
        raise BadPicture(
            f"The picture has {size:,} bytes; no more than {limits.max_size:,} are"
            " decoded."
        )
    job = {
        **asdict(spec),
        "formats": limits.formats,
        "max_pixels": limits.max_pixels,
        "seconds": COMPUTING,
        "largest": LARGEST,
        "path": [os.path.abspath(entry) for entry in sys.path],
    }
    command = [interpreter(), "-I", "-S", str(CHILD), json.dumps(job)]
    with tempfile.TemporaryFile() as output:
        try:
            # Other greenlets run meanwhile. Where gevent has patched, it sees to that.
            if subprocess.Popen.__module__.startswith("gevent"):
                done = _run(command, source, output)
            else:
                done = offload(_run, command, source, output)
        except subprocess.TimeoutExpired:
            raise _late() from None
        except OSError as exc:
            raise StoreError(
                f"The process that makes a variant cannot be started: {exc}"
            ) from exc
        output.seek(0)
        line = output.readline()
        if not line.endswith(b"\n"):
            raise _ended(done)
        said = json.loads(line)
        made = output.read()
    if len(made) != said.get("made"):
        raise _refusal(said)
    return made


def _run(
    command: list[str], source: t.IO[bytes], output: t.IO[bytes]
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end."""
    return subprocess.run(
        command,
        stdin=source,
        stdout=output,
        stderr=subprocess.PIPE,
        env={name: os.environ[name] for name in VARIABLES if name in os.environ},
        # What ends this process, such as Ctrl+C, is not meant for the picture.
        start_new_session=True,
        timeout=TIMEOUT,
    )


def _late() -> StoreError:
    """What to make of a program that has not ended in time."""
    if os.name == "posix":
        # What computes for too long has been ended by the system.
        return StoreUnavailable(
            f"No variant could be made within {TIMEOUT} seconds: this machine is too"
            " busy. Try again later."
        )
    return BadPicture(f"The picture takes more than {TIMEOUT} seconds to decode.")


def _refusal(said: dict[str, t.Any]) -> StoreError:
    """What the program says of itself, as an error."""
    if "refused" in said:
        return BadPicture(f"No variant can be made of this file. {said['refused']}")
    if "missing" in said:
        return NotConfiguredError(
            f"Variants of pictures need {said['missing']}. Install it with: pip install"
            " 'Flask-Store[images]'"
        )
    if "failed" in said:
        return StoreError(f"The variant could not be made: {said['failed']}")
    return StoreError("The variant could not be written to the temporary folder.")


def _ended(done: subprocess.CompletedProcess[bytes]) -> StoreError:
    """What to make of a program that ended without a word."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        if name in STOPPED:
            return StoreUnavailable(
                f"The process that makes a variant was stopped ({name}). Perhaps this"
                " machine has no memory left. Try again later."
            )
        return BadPicture(f"The picture cannot be decoded within its limits ({name}).")
    return StoreError(
        f"The process that makes variants ended with status {done.returncode}:"
        f" {done.stderr.decode(errors='replace').strip()}"
    )


@functools.cache
def interpreter() -> str:
    """The path of the Python that runs this process.

    Inside uWSGI and mod_wsgi, ``sys.executable`` is the server or nothing.

    :raises NotConfiguredError: if it cannot be found.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = [Path(sys.executable)] if sys.executable else []
    for prefix in (sys.exec_prefix, sys.base_exec_prefix):
        for name in (version, "python3", "python"):
            paths.append(Path(prefix, "bin", name))
        paths.append(Path(prefix, "python.exe"))
    for path in paths:
        if path.name.startswith(("python", "pypy")) and os.access(path, os.X_OK):
            return str(path)
    raise NotConfiguredError(
        "Variants are made by a Python process, and no Python interpreter is in"
        f" {os.path.join(sys.exec_prefix, 'bin')!r}. sys.executable is"
        f" {sys.executable!r}. Set sys.executable to its path."
    )
