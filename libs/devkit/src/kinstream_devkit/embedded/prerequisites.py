"""What must be there before the stack starts. Whatever is missing is one sentence that says what to do."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from kinstream.errors import PermanentError
from kinstream_devkit.embedded.emulator import HOST, console_script, port_is_free

MIN_FREE_BYTES = 200 * 1024 * 1024
JAVA_VERSION = 17
_JAVA_TIMEOUT_SECONDS = 60


def check_programs(names: tuple[str, ...]) -> None:
    """Every program that the stack starts is installed beside this Python."""
    missing = [name for name in names if not console_script(name).exists()]
    if missing:
        raise PermanentError(f"{', '.join(missing)} not found; install everything with `make setup`")


def check_disk(folder: Path) -> None:
    """There is room for logs, tables and some media."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < MIN_FREE_BYTES:
        raise PermanentError(
            f"the disk of {folder} has {free_bytes // 2**20} MB free, and {MIN_FREE_BYTES // 2**20} MB are "
            "needed; make room, or name another folder with --data-dir"
        )


def check_port(port: int) -> None:
    """The port that was asked for can be had."""
    if not port_is_free(port):
        raise PermanentError(
            f"port {port} on {HOST} is taken (or may not be used); name another with --port, or none to let "
            "a free one be found"
        )


def java_problem() -> str | None:
    """Why recommendations cannot be trained here, and what to do; None where they can."""
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java")
    advice = (
        f"recommendations are not trained until Java {JAVA_VERSION} is installed (Debian, Ubuntu: "
        "`sudo apt-get install openjdk-17-jre-headless`; macOS: `brew install openjdk@17`) and the stack "
        "is started again; everything else works"
    )
    if not java:
        return f"no Java found: {advice}"
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=_JAVA_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return f"{java} does not run: {advice}"
    version = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
    if not version or int(version[1]) != JAVA_VERSION:
        return f"{java} is not Java {JAVA_VERSION}: {advice}"
    return None
