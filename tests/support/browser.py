"""A page in a real browser, from an origin of its own."""

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.node_clients import missing

HOST = "127.0.0.1"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
    "--remote-debugging-port=0",
)
_STOP_SECONDS = 10


def found_browser() -> str:
    """A browser of Chromium's family; without one the test is skipped, or fails where it is required."""
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    return path or missing(f"no browser is installed: none of {', '.join(_BROWSERS)}")


class Page:
    """An open page."""

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def hear(self, told: Any) -> None:
        """It has told this."""
        self._told.put(told)

    def told(self, within_seconds: float) -> Any:
        """The next thing that it tells, by a POST to `/told`; AssertionError where it tells nothing."""
        try:
            return self._told.get(timeout=within_seconds)
        except queue.Empty:
            raise AssertionError(f"the page told nothing within {within_seconds} s") from None


@contextmanager
def open_page(
    page: Path, folders: Mapping[str, Path], config: Mapping[str, Any], profile: Path
) -> Iterator[Page]:
    """`page` open in a browser while the context lasts.

    Its server has the page at `/`, `config` at `/config.json`, and each of `folders` below its name.
    """
    browser = found_browser()
    files = {"/": page.read_bytes(), "/config.json": json.dumps(config).encode()}
    opened = Page()
    with ThreadingHTTPServer((HOST, 0), partial(_Pages, opened, files, folders)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://{HOST}:{server.server_address[1]}/"
        with (profile / "browser.log").open("wb") as log:
            process = subprocess.Popen(
                [browser, *_FLAGS, f"--user-data-dir={profile}", url],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield opened
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            process.kill()
            process.wait()
            server.shutdown()


class _Pages(SimpleHTTPRequestHandler):
    def __init__(
        self,
        opened: Page,
        files: Mapping[str, bytes],
        folders: Mapping[str, Path],
        *arguments: Any,
        **named: Any,
    ) -> None:
        self._opened = opened
        self._files = files
        self._folders = folders
        super().__init__(*arguments, **named)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: tests are quiet."""

    def do_GET(self) -> None:
        content = self._content(self.path)
        self.send_response(404 if content is None else 200)
        kind = "text/html" if self.path == "/" else self.guess_type(self.path)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def do_POST(self) -> None:
        self._opened.hear(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def _content(self, path: str) -> bytes | None:
        if path in self._files:
            return self._files[path]
        folder, _, name = path.removeprefix("/").partition("/")
        wanted = self._folders.get(folder, Path("/nowhere")) / name
        return wanted.read_bytes() if ".." not in name and wanted.is_file() else None
