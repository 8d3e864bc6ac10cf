"""A page in a real browser, from an origin of its own."""

import json
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
    "--remote-debugging-port=0",
)
_STOP_SECONDS = 10


def found_browser() -> str:
    """A browser of Chromium's family; without one the test is skipped, or fails where it is required."""
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    return path or missing(f"no browser is installed: none of {', '.join(_BROWSERS)}")


@contextmanager
def open_page(
    page: Path, folders: Mapping[str, Path], config: Mapping[str, Any], profile: Path
) -> Iterator[None]:
    """`page` open in a browser while the context lasts.

    Its server has the page at `/`, `config` at `/config.json`, and each of `folders` below its name.
    """
    browser = found_browser()
    files = {"/": page.read_bytes(), "/config.json": json.dumps(config).encode()}
    with ThreadingHTTPServer((HOST, 0), partial(_Pages, files, folders)) as server:
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
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            process.kill()
            process.wait()
            server.shutdown()


class _Pages(SimpleHTTPRequestHandler):
    def __init__(
        self, files: Mapping[str, bytes], folders: Mapping[str, Path], *arguments: Any, **named: Any
    ) -> None:
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

    def _content(self, path: str) -> bytes | None:
        if path in self._files:
            return self._files[path]
        folder, _, name = path.removeprefix("/").partition("/")
        wanted = self._folders.get(folder, Path("/nowhere")) / name
        return wanted.read_bytes() if ".." not in name and wanted.is_file() else None
