"""The folder in which an embedded stack keeps everything: its layout, its lock and its small files."""

import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from kinstream.errors import PermanentError

_SECRET_BYTES = 32
_LEFTOVER_SECONDS = 10.0
_SAME_START_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process id with the time at which it began, by which a reused id is told apart."""

    pid: int
    started_at: float

    @classmethod
    def of(cls, pid: int) -> "Process":
        """What the system knows of a running process."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return cls(pid, time.time())


@dataclass(frozen=True, slots=True)
class StackState:
    """What a running stack tells other programs, in `state.json`."""

    pid: int
    url: str
    endpoint_url: str
    redis_url: str
    catalog_url: str
    name_prefix: str
    ports: Mapping[str, int]
    children: Mapping[str, Process] = field(default_factory=dict)
    ledger_retention_seconds: int = 35 * 86_400


class DataDir:
    """Paths below one folder. Nothing here is shared between two stacks."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.emulator = self.root / "emulator"
        self.redis = self.root / "redis"
        self.logs = self.root / "logs"
        self.media_work = self.root / "media"
        self.run = self.root / "run"
        self.catalog = self.root / "catalog.sqlite3"
        self.credentials = self.root / "credentials.json"
        self._state = self.root / "state.json"
        self._ports = self.root / "ports.json"
        self._hash_key = self.root / "ledger_hash_key"
        self._url_key = self.root / "media_url_key"
        self._lock = self.root / "lock"
        self._lock_handle: int | None = None

    def create(self) -> None:
        """Make the folders; PermanentError where that is not allowed."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.emulator, self.redis, self.logs, self.media_work, self.run):
                folder.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise PermanentError(
                f"{self.root} cannot be written to ({error.strerror}); name another folder with --data-dir"
            ) from error

    def lock(self) -> None:
        """Take the folder for this process. The system frees it when the process ends, however it ends."""
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            holder = self._lock.read_text().strip() or "unknown"
            raise PermanentError(
                f"a stack already runs on {self.root} (process {holder}); "
                "stop it first, or name another folder with --data-dir"
            ) from error
        os.truncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        self._lock_handle = handle

    def unlock(self) -> None:
        """Give the folder back."""
        if self._lock_handle is not None:
            os.close(self._lock_handle)
            self._lock_handle = None

    def end_leftovers(self) -> list[str]:
        """End what a stack that died left running here; the names of what that was."""
        state = self._read(self._state)
        found: dict[str, psutil.Process] = {}
        for name, child in (state or {}).get("children", {}).items():
            try:
                process = psutil.Process(child["pid"])
                if abs(process.create_time() - child["started_at"]) < _SAME_START_SECONDS:
                    process.terminate()
                    found[name] = process
            except psutil.Error:
                continue
        _, stuck = psutil.wait_procs(found.values(), timeout=_LEFTOVER_SECONDS)
        for process in stuck:
            process.kill()
        self.clear_state()
        return sorted(found)

    def write_state(self, state: StackState) -> None:
        """Say what runs, in one step: a reader sees the old or the new."""
        self._write(self._state, asdict(state))

    def clear_state(self) -> None:
        """Say that nothing runs."""
        self._state.unlink(missing_ok=True)

    def read_state(self) -> StackState:
        """What runs here; PermanentError where nothing does."""
        values = self._read(self._state)
        if not values or not psutil.pid_exists(values["pid"]):
            raise PermanentError(f"no stack runs on {self.root}; start it with `kinstream up`")
        children = {name: Process(**child) for name, child in values.pop("children").items()}
        return StackState(**values, children=children)

    def read_ports(self) -> dict[str, int]:
        """The ports of the last start, so that links handed out then still lead somewhere."""
        return self._read(self._ports) or {}

    def write_ports(self, ports: Mapping[str, int]) -> None:
        """Remember the ports."""
        self._write(self._ports, dict(ports))

    def ledger_hash_key(self) -> str:
        """The secret of the ledger's hashes, made once: another one would count every event anew."""
        return _secret(self._hash_key)

    def media_url_key(self) -> str:
        """The secret of signed URLs, made once, so that links handed out before a restart still work."""
        return _secret(self._url_key)

    def read_credentials(self) -> dict[str, str]:
        """The first app and its keys in plain text; empty before the first start."""
        return self._read(self.credentials) or {}

    def write_credentials(self, values: Mapping[str, str]) -> None:
        """Keep them, readable by the owner alone."""
        self._write(self.credentials, dict(values))

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            return dict(json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise PermanentError(f"{path} cannot be read ({error}); remove it and start again") from error

    def _write(self, path: Path, values: Mapping[str, Any]) -> None:
        _write_private(path, json.dumps(values, indent=2) + "\n")


def _secret(path: Path) -> str:
    """What the file holds; made where there is none."""
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(_SECRET_BYTES))
    return path.read_text().strip()


def _write_private(path: Path, text: str) -> None:
    """Replace the file in one step, never readable by others, not even for a moment."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(name).replace(path)
