"""nginx and Chromium, for the tests of what is served."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import typing as t

from .servers import _answers
from .servers import _directory
from .servers import _free_ports
from .servers import _process
from .servers import NotInstalledError

NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
{user}
events {{}}
http {{
    access_log off;
    sendfile on;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ {passing} }}
{locations}
    }}
}}
"""


def proxied(upstream: str) -> str:
    """How nginx passes requests on to another server."""
    return f"proxy_pass {upstream}; proxy_set_header Host $http_host;"


@contextlib.contextmanager
def nginx(passing: str, locations: str) -> t.Iterator[str]:
    """Run nginx in front of an application and yield its base URL.

    :param passing: how it passes requests on, such as :func:`proxied`.
    :param locations: more of the configuration, as the documentation shows it.
    """
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not os.path.exists(program):
        raise NotInstalledError("nginx is not installed (apt-get install nginx-light)")
    (port,) = _free_ports(1)
    with _directory() as folder:
        config = folder / "nginx.conf"
        # Its workers would become nobody, who may not look into private folders.
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(
            NGINX.format(
                folder=folder,
                port=port,
                passing=passing,
                locations=locations,
                user=user,
            )
        )
        args = [program, "-c", str(config), "-p", str(folder), "-e", "stderr"]
        with _process(args, folder, grace=5) as running:
            url = f"http://127.0.0.1:{port}"
            running.wait_until(lambda: _answers(f"{url}/"), 20)
            yield url


class Chromium:
    """A headless Chromium, by the DevTools protocol over a pair of pipes."""

    def __init__(self, program: str, folder: pathlib.Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--autoplay-policy=no-user-gesture-required",
            "--mute-audio",
            f"--user-data-dir={folder / 'profile'}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        # It reads from its file 3 and writes to its file 4, whatever ours are called.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", script, "bash", *command],
                pass_fds=(to_browser, from_browser),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "HOME": str(folder)},
            )
        os.close(to_browser)
        os.close(from_browser)
        self._number = 0
        self._buffer = b""
        #: What the browser told without being asked.
        self.events: list[dict[str, t.Any]] = []

    def call(
        self, method: str, session: str | None = None, **params: t.Any
    ) -> dict[str, t.Any]:
        """Call a method of the protocol and wait for its result."""
        self._number += 1
        message: dict[str, t.Any] = {
            "id": self._number,
            "method": method,
            "params": params,
        }
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") != self._number:
                self.events.append(found)
            elif "error" in found:
                raise RuntimeError(found["error"]["message"])
            else:
                return t.cast("dict[str, t.Any]", found["result"])

    def _message(self) -> dict[str, t.Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._read, 1 << 20)
            if not data:
                raise RuntimeError("Chromium has gone")
            self._buffer += data
        raw, _, self._buffer = self._buffer.partition(b"\0")
        return t.cast("dict[str, t.Any]", json.loads(raw))

    @contextlib.contextmanager
    def tab(self) -> t.Iterator[Tab]:
        """A tab of its own."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        yield Tab(self, target)
        self.call("Target.closeTarget", targetId=target)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(RuntimeError, OSError):
            self.call("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        os.close(self._write)
        os.close(self._read)


class Tab:
    """One page of the browser."""

    def __init__(self, browser: Chromium, target: str) -> None:
        self.browser = browser
        self.target = target
        self.session = self._attach(target)
        self.call("Page.enable")

    def _attach(self, target: str) -> str:
        attached = self.browser.call(
            "Target.attachToTarget", targetId=target, flatten=True
        )
        return t.cast(str, attached["sessionId"])

    def call(self, method: str, **params: t.Any) -> dict[str, t.Any]:
        """Call a method for this page."""
        return self.browser.call(method, self.session, **params)

    def open(self, url: str) -> bool:
        """Go to an address; tell whether it became a download."""
        return bool(self.call("Page.navigate", url=url).get("isDownload"))

    def evaluate(self, expression: str) -> t.Any:
        """The value of a JavaScript expression in the page; the protocol may run
        one where the page itself may not."""
        found = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        return found["result"].get("value")

    def wait_for(self, expression: str, timeout: float = 20) -> t.Any:
        """The value of an expression as soon as it is true."""
        deadline = time.monotonic() + timeout
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                page = self.evaluate("document.documentElement.outerHTML")
                raise TimeoutError(f"{expression} stays {value!r} in {page!r}")
            time.sleep(0.05)
        return value

    def frame(self, beginning: str, timeout: float = 20) -> Tab:
        """A frame that runs in a process of its own, by its address."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = self.browser.call("Target.getTargets", filter=[{}])["targetInfos"]
            for info in found:
                if info["type"] == "iframe" and info["url"].startswith(beginning):
                    frame = object.__new__(Tab)
                    frame.browser, frame.target = self.browser, info["targetId"]
                    frame.session = self._attach(info["targetId"])
                    return frame
            time.sleep(0.05)
        raise TimeoutError(f"no frame {beginning!r}")

    def screenshot(self) -> bytes:
        """What the page looks like, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


@contextlib.contextmanager
def chromium() -> t.Iterator[Chromium]:
    """Run Chromium with a profile of its own."""
    program = shutil.which("chromium")
    if program is None:
        raise NotInstalledError("Chromium is not installed (apt-get install chromium)")
    with tempfile.TemporaryDirectory(
        prefix="flask-store-", ignore_cleanup_errors=True
    ) as name:
        browser = Chromium(program, pathlib.Path(name))
        try:
            yield browser
        finally:
            browser.close()
