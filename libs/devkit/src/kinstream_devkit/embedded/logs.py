"""Log files of child processes: bounded, and their end in a readable form."""

import json
import shutil
from pathlib import Path

MAX_LOG_BYTES = 20 * 1024 * 1024
_TAIL_BYTES = 16 * 1024
_TAIL_LINES = 12


def bound_log(log_file: Path) -> None:
    """Move what a log holds to `<name>.1` once it is large. Its writer appends, so it just goes on."""
    if not log_file.exists() or log_file.stat().st_size <= MAX_LOG_BYTES:
        return
    shutil.copyfile(log_file, log_file.with_name(log_file.name + ".1"))
    with log_file.open("r+b") as log:
        log.truncate(0)


def last_lines(log_file: Path, most: int = _TAIL_LINES) -> str:
    """The last lines, indented; of JSON lines the message and, where there is one, the exception."""
    if not log_file.exists():
        return ""
    with log_file.open("rb") as log:
        log.seek(max(0, log_file.stat().st_size - _TAIL_BYTES))
        lines = log.read().decode(errors="replace").splitlines()
    text = "\n".join(_readable(line) for line in lines)
    return "\n".join(f"    {line}" for line in text.splitlines()[-most:])


def _readable(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "message" not in entry:
        return line
    message = f"{entry.get('level', '')} {entry['message']}".strip()
    return f"{message}\n{entry['exception']}" if "exception" in entry else message
