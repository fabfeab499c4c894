"""Debian's Chromium without a window, driven over its DevTools protocol.

Source: https://chromedevtools.github.io/devtools-protocol/ (``--remote-debugging-pipe``: messages of JSON
that end in a zero byte, in on descriptor 3, out on 4). What is here waits; it is for a thread of its own.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SECONDS = 40.0
"""For one answer, and for what is waited for; a busy machine takes some seconds to start it."""
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--no-proxy-server", "--remote-debugging-pipe",
)  # fmt: skip


class Chromium:
    """Starts when it is made; ``with`` ends it. One page at a time."""

    def __init__(self, program: str, folder: Path) -> None:
        """:param folder: for its profile; it has no other."""
        child_in, self._out = os.pipe()
        self._in, child_out = os.pipe()
        moved = (*_above(child_in, child_out),)
        command = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        # The shell puts the pipes where the browser looks for them.
        script = f'exec "$@" 3<&{moved[0]} 4>&{moved[1]}'
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                ["/bin/bash", "-c", script, "chromium", *command],
                pass_fds=moved,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for one in moved:
            os.close(one)
        self._rest = b""
        self._number = 0
        self.messages: list[dict[str, Any]] = []
        """Events that came meanwhile: what the console said, what was refused."""
        self._session = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # It takes its own files in /tmp away, where it is asked; by force it would leave them.
            with suppress(OSError, AssertionError, TimeoutError, subprocess.TimeoutExpired):
                self._call("Browser.close", session=None)
                self._process.wait(SECONDS)
        finally:
            # All that it started is in its session.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(SECONDS)
            os.close(self._in)
            os.close(self._out)

    def open(self, url: str, width: int, height: int = 900, scheme: str = "light", scale: float = 1) -> None:
        """A new page of this size, in CSS pixels, when it has been loaded."""
        target = self._call("Target.createTarget", url="about:blank", session=None)["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True, session=None)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        seen = len(self.messages)
        self.call("Page.navigate", url=url)
        end = time.monotonic() + SECONDS
        while not any(one["method"] == "Page.loadEventFired" for one in self.messages[seen:]):
            self.messages.append(self._message(end))

    def call(self, method: str, **parameters: Any) -> Any:
        """One command to the page, and its result."""
        return self._call(method, session=self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or what its promise brings."""
        said = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """The first value of an expression that is true."""
        look = f"""new Promise((found) => {{
            const look = () => {{ const value = {expression}; value ? found(value) : setTimeout(look, 20); }};
            look();
        }})"""
        try:
            return self.evaluate(look)
        except TimeoutError:
            raise AssertionError(f"never true: {expression}\n{self.text()}\n{self.messages}") from None

    def text(self) -> str:
        """What the page shows."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def table(self, identity: str) -> list[list[str]]:
        """The cells of a table, without its head; lines within a cell apart by a bar."""
        rows = self.evaluate(
            f"""[...document.getElementById({json.dumps(identity)}).tBodies[0].rows].map((row) =>
                [...row.cells].map((cell) => [...cell.childNodes].map((one) => one.textContent)
                .filter(Boolean).join(" | ")))"""
        )
        assert isinstance(rows, list)
        return rows

    def screenshot(self, path: Path, most_height: int = 100_000) -> None:
        """The whole page, or so many CSS pixels of it, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        height = min(size["height"], most_height)
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1}
        said = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(said["data"]))

    def _call(self, method: str, session: str | None, **parameters: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + SECONDS
        while True:
            said = self._message(end)
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            self.messages.append(said)

    def _message(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("Chromium does not answer")
            piece = os.read(self._in, 1 << 20)
            if not piece:
                raise AssertionError(f"Chromium has ended: {self._process.wait(SECONDS)}")
            self._rest += piece
        first, _, self._rest = self._rest.partition(b"\0")
        said = json.loads(first)
        assert isinstance(said, dict)
        return said


def _above(*descriptors: int) -> tuple[int, ...]:
    """The same pipes with numbers above 4, so that none is written over before it is moved."""
    moved = tuple(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in descriptors)
    for one in descriptors:
        os.close(one)
    return moved
