"""What holds for every processor, whoever wrote it."""

import msgspec
import pytest

from kinstream.events import ClientEvent, Event, parse_time_ms
from kinstream.settings import CoreSettings
from session_worker.processor import Processor, Reducer, Sink, Timeline, discover
from tests.support.engine import engine

every = pytest.mark.parametrize("processor", discover(), ids=lambda processor: processor.name)
counting = pytest.mark.parametrize(
    "processor", [p for p in discover() if not isinstance(p, Sink)], ids=lambda processor: processor.name
)


def example(processor: Processor) -> Event:
    native = msgspec.json.decode(msgspec.json.encode(processor.example), type=ClientEvent)
    values = {name: getattr(native, name) for name in native.__struct_fields__}
    time_ms = parse_time_ms(native.occurred_at)
    return Event(**values, occurred_at_ms=time_ms, received_at_ms=time_ms)


@every
def test_example_is_a_native_event_that_the_processor_takes(processor: Processor):
    assert processor.takes(example(processor))


@every
def test_processor_says_what_it_does_and_guarantees(processor: Processor):
    assert "Guarantee:" in (type(processor).__doc__ or "")


@every
def test_queue_asks_for_the_types_that_the_processor_handles(processor: Processor):
    resource = processor.resource()
    assert resource.name == processor.name
    assert set(resource.handles or ()) == (processor.handles or set())


@every
def test_processor_is_of_a_kind_that_the_engine_knows(processor: Processor):
    assert isinstance(processor, Reducer | Timeline | Sink)


@counting
async def test_twice_is_once(processor: Processor, settings: CoreSettings):
    async with engine(settings, copies=2) as (first, second):
        once = await first.run(processor.name, [example(processor)])
        again = await second.run(processor.name, [example(processor)] * 2)
    assert (once.counted, once.failed) == (1, {})
    assert (again.counted, again.duplicates, again.failed) == (0, 2, {})
    assert not again.announcements
    assert not again.scores


def test_names_are_unique():
    names = [processor.name for processor in discover()]
    assert len(names) == len(set(names))
