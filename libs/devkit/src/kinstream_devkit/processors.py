"""The processors in the code, as infrastructure needs them: queues and filters, and the file of them."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from kinstream.errors import PermanentError
from kinstream.resources import ProcessorQueue

GENERATED_FILE = Path("infra/terraform/processors.json")
"""Below the repository's folder."""


def processor_queues() -> list[ProcessorQueue]:
    """What each processor in the code needs; PermanentError where a setting of one is wrong."""
    from session_worker.processor import discover

    importlib.invalidate_caches()  # a file may have been written by this very process
    try:
        return [processor.resource() for processor in discover()]
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        name = "_".join(map(str, problem["loc"])).upper()
        raise PermanentError(f"KINSTREAM_{name}: {problem['msg']}") from error


def check_root(root: Path) -> None:
    """PermanentError where the processors that this command runs are not those of the repository `root`."""
    import session_worker

    used = Path(session_worker.__path__[0]).resolve()
    if not used.is_relative_to(root.resolve()):
        raise PermanentError(f"this command runs the processors in {used}; run `make setup` in {root}")


def as_json(queues: Sequence[ProcessorQueue]) -> str:
    """The generated file's text: one object by processor name, as Terraform's `for_each` takes it."""
    described = {
        queue.name: {
            "handles": None if queue.handles is None else sorted(queue.handles),
            "visibility_timeout_seconds": queue.visibility_timeout_seconds,
            "max_receive_count": queue.max_receive_count,
            "bucket": queue.bucket,
        }
        for queue in queues
    }
    return json.dumps(described, indent=2, sort_keys=True) + "\n"


def write_file(file: Path, queues: Sequence[ProcessorQueue]) -> bool:
    """Bring the file up to date; whether that changed it."""
    text = as_json(queues)
    if file.exists() and file.read_text() == text:
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return True


def check_file(file: Path, queues: Sequence[ProcessorQueue]) -> None:
    """PermanentError where the file does not say what the code says."""
    if not file.exists() or file.read_text() != as_json(queues):
        raise PermanentError(
            f"{file} is out of step with the processors in the code; run `kinstream processors --write`"
        )
