"""Writes the file of a new processor and its test, in the form that the formatter would give them. Pure."""

import json
import keyword
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kinstream.errors import PermanentError
from kinstream.events import PAYLOADS, EventType

PROCESSORS_FOLDER = Path("services/session-worker/src/session_worker/processors")
TESTS_FOLDER = Path("tests/integration/processors")
MAX_NAME_CHARACTERS = 32
"""With the longest prefix and `-dlq` behind it a queue of SQS still takes it."""

_LINE_CHARACTERS = 110
_NAME = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
_COUNTERS_OF_OTHERS = frozenset({"customer", "content", "trend"})
_NAMES_IN_THE_FILES = frozenset({"Effect", "Engine", "Event", "Increment", "Iterator", "Reducer", "Sequence"})


@dataclass(frozen=True, slots=True)
class NewProcessor:
    """A processor that counts its events by customer: where its author begins."""

    name: str
    handles: tuple[str, ...]
    example_data: Mapping[str, Any]

    @property
    def module(self) -> str:
        """Name of its module."""
        return self.name.replace("-", "_")

    @property
    def title(self) -> str:
        """Name of its class."""
        return "".join(part.capitalize() for part in self.name.split("-"))

    def files(self) -> dict[Path, str]:
        """Path below the repository, and text, of the processor and of its test."""
        return {
            PROCESSORS_FOLDER / f"{self.module}.py": _render(_PROCESSOR, self),
            TESTS_FOLDER / f"test_{self.module}.py": _render(_TEST, self),
        }


def plan(name: str, handles: Sequence[str], examples: Iterable[Mapping[str, Any]]) -> NewProcessor:
    """The new processor; PermanentError says what is wrong with its name or its types.

    `examples` are those of the processors there are: a type that asks for a payload gets one of these.
    """
    _check_name(name)
    if not handles:
        raise PermanentError("name the types of events that it handles: --handles noun.past_verb ...")
    for event_type in handles:
        try:
            msgspec.convert(event_type, EventType)
        except msgspec.ValidationError as error:
            raise PermanentError(
                f"{event_type!r} is no type of event: write noun.past_verb in lower case, such as "
                "screen.used, of 64 characters at most"
            ) from error
    types = tuple(dict.fromkeys(handles))
    return NewProcessor(name, types, _example_data(types[0], examples))


def write(root: Path, new: NewProcessor) -> list[Path]:
    """Write its files below the repository's folder; PermanentError, and nothing, where one is there."""
    if not (root / PROCESSORS_FOLDER).is_dir():
        raise PermanentError(f"{root} is not Kinstream's folder: it has no {PROCESSORS_FOLDER}")
    files = new.files()
    for path in files:
        if (root / path).exists():
            raise PermanentError(f"{path} is there already; choose another name, or edit it")
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return list(files)


def _check_name(name: str) -> None:
    if not _NAME.match(name) or len(name) > MAX_NAME_CHARACTERS:
        raise PermanentError(
            f"{name!r} is no name of a processor: write lower-case letters, digits and hyphens, such as "
            f"screen-time, beginning with a letter, {MAX_NAME_CHARACTERS} characters at most"
        )
    if name.endswith("-dlq"):
        raise PermanentError(f"{name} would share a queue: what ends in -dlq is a dead-letter queue")
    if name in _COUNTERS_OF_OTHERS:
        raise PermanentError(f"{name} is taken: other processors keep counters under that name")
    if name == "all":
        raise PermanentError("all means every processor, so none can be called so")
    new = NewProcessor(name, (), {})
    if keyword.iskeyword(new.module) or new.module in sys.stdlib_module_names:
        raise PermanentError(f"{name} means something in Python already; choose another name")
    if new.title in _NAMES_IN_THE_FILES:
        raise PermanentError(f"{name} means something in a processor's file already; choose another name")


def _example_data(event_type: str, examples: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    payload = PAYLOADS.get(event_type)
    if payload is None:
        return {}
    found = (e.get("data", {}) for e in examples if PAYLOADS.get(e["type"]) is payload)
    return next(iter(found), {})


def _render(template: str, new: NewProcessor) -> str:
    values = {
        "NAME": new.name,
        "MODULE": new.module,
        "CLASS": new.title,
        "HANDLES": _frozenset(new.handles),
        "FIRST_TYPE": new.handles[0],
        "DATA": _inline(new.example_data),
    }
    for word, value in values.items():
        template = template.replace(f"«{word}»", value)
    return template.lstrip("\n")


def _frozenset(types: Sequence[str]) -> str:
    quoted = [json.dumps(one) for one in sorted(types)]
    line = f"    handles = frozenset({{{', '.join(quoted)}}})"
    if len(line) <= _LINE_CHARACTERS:
        return line.strip().removeprefix("handles = ")
    rows = "".join(f"            {one},\n" for one in quoted)
    return f"frozenset(\n        {{\n{rows}        }}\n    )"


def _inline(data: Mapping[str, Any]) -> str:
    # JSON of texts and numbers is Python too.
    return json.dumps(data)


_PROCESSOR = '''
"""Counts events by customer."""

from collections.abc import Iterator, Sequence

from kinstream.events import Event
from session_worker.effects import Effect, Increment
from session_worker.processor import LedgerKey, Reducer


class «CLASS»(Reducer):
    """How many of its events each customer has.

    Guarantee: each event is counted exactly once, however often, late or in whatever order it comes.
    """

    name = "«NAME»"
    handles = «HANDLES»
    example = {
        "id": "e-1",
        "type": "«FIRST_TYPE»",
        "customer_id": "fam-42",
        "device_id": "ipad-1",
        "occurred_at": "2026-11-20T18:04:05.123Z",
        "data": «DATA»,
    }

    def key(self, event: Event) -> LedgerKey:
        """A duplicate must find its first under the same key: use nothing that could differ."""
        return LedgerKey((event.customer_id,), (event.device_id,))

    def effects(self, app: str, key: LedgerKey, new: Sequence[Event]) -> Iterator[Effect]:
        """`new` are events of one key that were never counted before."""
        (customer_id,) = key.partition
        yield Increment(("«NAME»", customer_id), {"events": len(new)})
'''

_TEST = '''
"""«NAME»: what it makes of events, through the engine that runs it."""

from typing import Any

from kinstream import keys
from kinstream.events import Event
from kinstream.resources import TABLE_COUNTERS
from kinstream.settings import CoreSettings
from session_worker.processors.«MODULE» import «CLASS»
from tests.support.engine import APP, Engine, engine, event

NAME = «CLASS».name


def sample(**fields: Any) -> Event:
    """The processor's example as an event of its own, with other `fields`."""
    given = {name: value for name, value in «CLASS».example.items() if name != "id"}
    return event(**(given | fields))


async def counted(worker: Engine, customer_id: str) -> int:
    row = await worker.item(TABLE_COUNTERS, keys.counter(APP, NAME, customer_id))
    return row.get("events", 0)


async def test_events_are_counted_by_customer(settings: CoreSettings):
    async with engine(settings) as (worker,):
        await worker.run(NAME, [sample(customer_id=name) for name in ("fam-1", "fam-1", "fam-2")])
        assert [await counted(worker, name) for name in ("fam-1", "fam-2", "fam-3")] == [2, 1, 0]


async def test_event_that_comes_again_is_counted_once(settings: CoreSettings):
    async with engine(settings, copies=2) as (first, second):
        same = sample(customer_id="fam-1")
        await first.run(NAME, [same, same])
        await second.run(NAME, [same])
        assert await counted(second, "fam-1") == 1
'''
