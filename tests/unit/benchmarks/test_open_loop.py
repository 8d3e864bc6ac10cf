"""The open loop before servers that misbehave: it keeps its pace, comes again, counts from the due time."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

from benchmarks.open_load import summary
from benchmarks.open_loop import Manner, OpenLoop
from benchmarks.schedule import Schedule

TAKEN = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"
WRONG = b"HTTP/1.1 400 Wrong\r\nContent-Length: 0\r\n\r\n"
CLOSING = b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Server(asyncio.Protocol):
    """Asks `answer` what to say to a request's number, sent for the n-th time; None closes instead."""

    def __init__(self, answer, tries, tasks):
        self.answer, self.tries, self.tasks = answer, tries, tasks

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        number = int(data)
        self.tries[number] += 1
        self.tasks.append(asyncio.create_task(self.say(number, self.tries[number])))

    async def say(self, number, tries):
        said = await self.answer(number, tries)
        self.transport.write(said or b"")
        if said in (None, CLOSING):
            self.transport.close()


@asynccontextmanager
async def server(answer):
    """(its port, how often each request came)"""
    tries, tasks = Counter(), []
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Server(answer, tries, tasks), "127.0.0.1", 0) as running:
        yield running.sockets[0].getsockname()[1], tries
    for task in tasks:
        task.cancel()
    assert not [error for error in await asyncio.gather(*tasks, return_exceptions=True) if is_wrong(error)]


def is_wrong(result):
    return isinstance(result, Exception)


def load_on(port, count, *, per_second=500, **manner):
    schedule = Schedule(per_second, count)
    return OpenLoop(port, schedule, lambda number: b"%d\n" % number, Manner(drain_seconds=20, **manner))


async def test_each_request_is_sent_once_where_all_goes_well():
    async def answer(number, _):
        return CLOSING if number % 3 == 0 else TAKEN

    async with server(answer) as (port, tries):
        load = load_on(port, 40)
        await load.run()
    assert tries == dict.fromkeys(range(40), 1)
    assert (len(load.delays), load.unfinished, sum(second.taken for second in load.seconds)) == (40, 0, 40)


async def test_what_is_refused_for_now_or_cut_off_is_sent_again_and_waits_since_it_was_due():
    async def answer(number, tries):
        if tries == 1 and number == 1:
            return BUSY
        return None if tries == 1 and number == 2 else TAKEN

    async with server(answer) as (port, tries):
        load = load_on(port, 4, again=True)
        await load.run()
    assert tries == {0: 1, 1: 2, 2: 2, 3: 1}
    told = summary(load)
    assert (told["taken"], told["refusals"], told["failed"], told["unfinished"]) == (4, 1, 0, 0)
    assert sum(second.refused_with_retry_after for second in load.seconds) == 1


async def test_a_refusal_for_good_is_a_failure_and_not_sent_again():
    async def answer(number, _):
        return WRONG if number == 1 else TAKEN

    async with server(answer) as (port, tries):
        load = load_on(port, 3, again=True)
        await load.run()
    assert tries == {0: 1, 1: 1, 2: 1}
    assert (load.failed, len(load.delays), load.unfinished) == (1, 2, 0)


async def test_a_stall_of_the_server_counts_for_every_request_that_was_due_meanwhile():
    released = asyncio.Event()

    async def answer(*_):
        await released.wait()
        return TAKEN

    async with server(answer) as (port, _):
        # One connection: all but the first cannot even be sent while the server stalls.
        load = load_on(port, 50, connections=1)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(0.3)
        at = load.now()
        released.set()
        await running
    assert all(load.schedule.due_seconds(number) + delay >= at for number, delay in load.delays.items())
    assert len(load.delays) == 50


async def test_a_request_without_an_answer_is_given_up_and_sent_again():
    async def answer(number, tries):
        if number == 0 and tries == 1:
            await asyncio.sleep(30)
        return TAKEN

    async with server(answer) as (port, tries):
        load = load_on(port, 2, again=True, patience_seconds=1)
        await load.run()
    assert tries == {0: 2, 1: 1}
    assert (summary(load)["given_up"], load.unfinished) == (1, 0)
    assert load.last_trouble > 0
