"""Finds a Java that Spark 3.5 runs on."""

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

WORKING_MAJORS = (17, 21)
MISSING = (
    "Training needs Java 17, and none was found: install it (Debian and Ubuntu: apt-get install "
    "openjdk-17-jre-headless; macOS: brew install openjdk@17) or set KINSTREAM_JAVA_HOME to where it lies."
)
_USUAL_PLACES = (
    ("/usr/lib/jvm", "*17*"),
    ("/opt/homebrew/opt", "openjdk@17"),
    ("/usr/local/opt", "openjdk@17"),
    ("/Library/Java/JavaVirtualMachines", "*17*/Contents/Home"),
)
_VERSION = re.compile(r'version "(\d+)(?:\.(\d+))?')
_ANSWER_SECONDS = 60


def major_version(text: str) -> int | None:
    """17 of what `java -version` prints, 8 of the old `1.8.0`; None where it is something else."""
    match = _VERSION.search(text)
    if not match:
        return None
    first, second = int(match[1]), int(match[2] or 0)
    return second if first == 1 else first


async def find_java_home(configured: Path | None) -> Path | None:
    """The first home of a Java that works: the configured one alone, or what the machine has."""
    seen: set[Path] = set()
    for home in [configured] if configured else _homes():
        resolved = home.resolve()
        if resolved not in seen and await _works(resolved):
            return resolved
        seen.add(resolved)
    return None


def _homes() -> Iterator[Path]:
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path).resolve().parent.parent
    for place, pattern in _USUAL_PLACES:
        yield from sorted(Path(place).glob(pattern))


async def _works(home: Path) -> bool:
    java = home / "bin" / "java"
    if not os.access(java, os.X_OK):
        return False
    process = await asyncio.create_subprocess_exec(
        str(java), "-version", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, text = await asyncio.wait_for(process.communicate(), _ANSWER_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    return major_version(text.decode(errors="replace")) in WORKING_MAJORS
