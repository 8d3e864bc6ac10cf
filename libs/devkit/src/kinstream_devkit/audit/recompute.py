"""Sessions and counters computed anew from archive files, in SQL: another way to the same results.

It shares numbers with the engine and the session view (the gap, the cap), and no logic.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from kinstream.events import CONTENT_LIKED, CONTENT_UNLIKED, CONTENT_VIEWED, PASSIVE_TYPES
from kinstream.views.sessions import GAP_MS, IDLE_CAP_MS, MAX_SESSION_MS

_NAME = 128
"""Of a name so many characters count."""

# Of one identity the event that came first is taken: repetitions are the same, and of impostors with the id
# and time of another event the archive cannot tell which was counted (`ambiguous` counts them).
_NO_ROWS = """
CREATE OR REPLACE TABLE rows(id VARCHAR, type VARCHAR, customer_id VARCHAR, device_id VARCHAR, time_ms BIGINT,
                             received_at_ms BIGINT, data VARCHAR, content VARCHAR)
"""
_ROWS = """
INSERT INTO rows
SELECT id, type, customer_id, device_id, occurred_at_ms, received_at_ms, data,
       left(coalesce(content_id, ''), ?)
FROM read_parquet(?, union_by_name = true, hive_partitioning = false) WHERE counted
"""
# What DuckDB reads otherwise than the engine does: a name that is there twice, and escaped characters.
_ODD = """
SELECT DISTINCT data FROM rows
WHERE contains(data, '\\u') OR length(data) - length(replace(data, '"activity"', '')) > length('"activity"')
"""
_EVENTS = """
CREATE OR REPLACE TABLE events AS
SELECT DISTINCT ON (customer_id, device_id, time_ms, id)
       id, type, customer_id, device_id, time_ms, content,
       CASE WHEN list_contains(?, type) THEN NULL
            ELSE coalesce(nullif(left(CASE
                WHEN odd.data IS NOT NULL THEN odd.activity
                WHEN NOT contains(rows.data, '"activity"') THEN NULL
                WHEN json_type(rows.data, '$.activity') = 'VARCHAR'
                    THEN json_extract_string(rows.data, '$.activity')
            END, ?), ''), type) END AS activity
FROM rows LEFT JOIN odd ON odd.data = rows.data
ORDER BY customer_id, device_id, time_ms, id, received_at_ms, type, rows.data
"""
_AMBIGUOUS = """
SELECT count(*) FROM (SELECT 1 FROM rows GROUP BY customer_id, device_id, time_ms, id
                      HAVING count(DISTINCT (type, data)) > 1)
"""
# Times are made distinct first: a window over equal times would have to put them into some order.
_ISLANDS = """
CREATE OR REPLACE TABLE islands AS
WITH moments AS (SELECT DISTINCT customer_id, device_id, time_ms FROM events WHERE activity IS NOT NULL),
     marked AS (SELECT *, coalesce(time_ms - lag(time_ms) OVER of_device > ?, false) AS begins
                FROM moments WINDOW of_device AS (PARTITION BY customer_id, device_id ORDER BY time_ms))
SELECT * EXCLUDE (begins), sum(begins::INTEGER) OVER
       (PARTITION BY customer_id, device_id ORDER BY time_ms) AS island FROM marked
"""
# A session's start decides where the next one begins, so starts are followed from one to the next.
_STARTS = """
CREATE OR REPLACE TABLE starts AS
WITH RECURSIVE leaps AS (
    SELECT *, min(time_ms) OVER (PARTITION BY customer_id, device_id, island ORDER BY time_ms
                                 RANGE BETWEEN {beyond} FOLLOWING AND UNBOUNDED FOLLOWING) AS next_ms
    FROM islands),
followed AS (
    SELECT customer_id, device_id, island, min(time_ms) AS start_ms FROM islands GROUP BY ALL
    UNION ALL
    SELECT customer_id, device_id, island, leaps.next_ms
    FROM followed JOIN leaps USING (customer_id, device_id, island)
    WHERE leaps.time_ms = followed.start_ms AND leaps.next_ms IS NOT NULL)
SELECT customer_id, device_id, start_ms FROM followed
"""
_TIED = """
SELECT DISTINCT activity, content FROM events
WHERE (customer_id, device_id, time_ms) IN (
    SELECT (customer_id, device_id, time_ms) FROM events WHERE activity IS NOT NULL
    GROUP BY customer_id, device_id, time_ms HAVING count(DISTINCT (activity, content)) > 1)
  AND activity IS NOT NULL
"""
_STEPS = """
CREATE OR REPLACE TABLE steps AS
WITH active AS (
    SELECT events.customer_id, events.device_id, starts.start_ms, events.time_ms, activity, content
    FROM events ASOF JOIN starts ON events.customer_id = starts.customer_id
         AND events.device_id = starts.device_id AND events.time_ms >= starts.start_ms
    WHERE activity IS NOT NULL)
SELECT active.*, row_number() OVER in_order AS nth,
       least(coalesce(lead(time_ms) OVER in_order - time_ms, 0), ?) AS engaged_ms
FROM active LEFT JOIN tied USING (activity, content)
WINDOW in_order AS (PARTITION BY customer_id, device_id, start_ms ORDER BY time_ms, coalesce(place, 0))
"""
_SESSIONS = """
CREATE OR REPLACE TABLE sessions AS
WITH activities AS (
    SELECT customer_id, device_id, start_ms, list([activity, engaged_ms::VARCHAR, events::VARCHAR]
        ORDER BY engaged_ms DESC, events DESC, activity) AS activities
    FROM (SELECT customer_id, device_id, start_ms, activity, sum(engaged_ms) AS engaged_ms, count(*) AS events
          FROM steps GROUP BY ALL) GROUP BY ALL),
contents AS (
    SELECT customer_id, device_id, start_ms, list(content ORDER BY nth) AS contents
    FROM (SELECT customer_id, device_id, start_ms, content, min(nth) AS nth
          FROM steps WHERE content <> '' GROUP BY ALL) GROUP BY ALL)
SELECT customer_id, device_id, start_ms, max(time_ms) AS end_ms, count(*) AS events,
       any_value(activities) AS activities, coalesce(any_value(contents), []) AS contents
FROM steps JOIN activities USING (customer_id, device_id, start_ms)
     LEFT JOIN contents USING (customer_id, device_id, start_ms)
GROUP BY customer_id, device_id, start_ms ORDER BY customer_id, start_ms
"""
# Both tables lie in order of customers, so that a range of these reads a part of them.
_SESSIONS_OF = """
SELECT * FROM sessions WHERE customer_id BETWEEN ? AND ? AND start_ms >= ? AND start_ms < ?
"""
_TYPES = """
CREATE OR REPLACE TABLE types AS
SELECT customer_id, type, count(*) AS events FROM events GROUP BY ALL ORDER BY ALL
"""
_TYPES_OF = "SELECT * FROM types WHERE customer_id BETWEEN ? AND ?"
_CUSTOMERS = "SELECT DISTINCT customer_id FROM events WHERE time_ms >= ? AND time_ms < ? ORDER BY ALL"
_CONTENTS = """
WITH words AS (
    SELECT DISTINCT ON (customer_id, content) content, type FROM events WHERE type IN ($liked, $unliked)
    ORDER BY customer_id, content, time_ms DESC, id DESC, type = $liked DESC)
SELECT content, sum(likes)::BIGINT, sum(views)::BIGINT FROM (
    SELECT content, (type = $liked)::INTEGER AS likes, 0 AS views FROM words
    UNION ALL SELECT content, 0, 1 FROM events WHERE type = $viewed)
GROUP BY content ORDER BY content
"""
_MENTIONED_OUTSIDE = "SELECT DISTINCT {column} FROM events WHERE time_ms < ? OR time_ms >= ?"
_REACHES_BACK = """
SELECT count(*) FROM (SELECT 1 FROM islands GROUP BY customer_id, device_id, island
                      HAVING min(time_ms) <= ? AND max(time_ms) >= ?)
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the archive has it."""

    customer_id: str
    device_id: str
    started_ms: int
    ended_ms: int
    events: int
    activities: tuple[tuple[str, int, int], ...]
    """(name, engaged milliseconds, events) in order of priority."""
    content_ids: tuple[str, ...]


class Recomputed:
    """What one app's archive files come to. Close it: it holds a database in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._db = duckdb.connect(str(folder / "audit.duckdb"))
        self._db.execute("SET temp_directory = ?", [str(folder / "spill")])
        self.ambiguous = 0
        """Identities under which the archive has more than one event."""

    def close(self) -> None:
        """Free the database."""
        self._db.close()

    def load(self, files: Sequence[Path]) -> None:
        """Compute everything from these files, forgetting what was there."""
        run = self._db.execute
        run(_NO_ROWS)
        if files:
            run(_ROWS, [_NAME, list(map(str, files))])
        self.ambiguous = self._number(_AMBIGUOUS)
        self._table("odd(data VARCHAR, activity VARCHAR)", [(d, _activity(d)) for (d,) in self._all(_ODD)])
        run(_EVENTS, [sorted(PASSIVE_TYPES), _NAME])
        run("DROP TABLE rows")
        run(_ISLANDS, [GAP_MS])
        run(_STARTS.format(beyond=MAX_SESSION_MS + 1))
        # The session view orders equal times by how Python writes (activity, content).
        order = sorted(self._all(_TIED), key=repr)
        places = [(*pair, place) for place, pair in enumerate(order)]
        self._table("tied(activity VARCHAR, content VARCHAR, place BIGINT)", places)
        run(_STEPS, [IDLE_CAP_MS])
        run(_SESSIONS)
        run("DROP TABLE steps")
        run(_TYPES)

    @property
    def events(self) -> int:
        """How many events were counted, each once."""
        return self._number("SELECT count(*) FROM events")

    def reaches_back(self, edge_ms: int, from_ms: int) -> bool:
        """Whether a run of events that goes on at `from_ms` may have begun before `edge_ms`."""
        return self._number(_REACHES_BACK, [edge_ms + GAP_MS, from_ms]) > 0

    def customers(self, from_ms: int, to_ms: int) -> list[str]:
        """Those with events in that time."""
        return [customer for (customer,) in self._all(_CUSTOMERS, [from_ms, to_ms])]

    def outside(self, from_ms: int, to_ms: int) -> tuple[set[str], set[str]]:
        """(customers, contents) that the files mention at other times."""
        customers, contents = (
            {name for (name,) in self._all(_MENTIONED_OUTSIDE.format(column=column), [from_ms, to_ms])}
            for column in ("customer_id", "content")
        )
        return customers, contents

    def sessions(self, first: str, last: str, from_ms: int, to_ms: int) -> Iterator[Session]:
        """Sessions that began in that time, of customers from `first` to `last`."""
        for customer, device, start_ms, end_ms, events, activities, contents in self._all(
            _SESSIONS_OF, [first, last, from_ms, to_ms]
        ):
            named = tuple((name, int(engaged_ms), int(count)) for name, engaged_ms, count in activities)
            yield Session(customer, device, start_ms, end_ms, events, named, tuple(contents))

    def by_type(self, first: str, last: str) -> dict[str, dict[str, int]]:
        """Events by customer and type, of customers from `first` to `last`."""
        found: dict[str, dict[str, int]] = {}
        for customer, kind, count in self._all(_TYPES_OF, [first, last]):
            found.setdefault(customer, {})[kind] = count
        return found

    def contents(self) -> dict[str, tuple[int, int]]:
        """(likes, views) by content."""
        kinds = {"liked": CONTENT_LIKED, "unliked": CONTENT_UNLIKED, "viewed": CONTENT_VIEWED}
        return {content: (likes, views) for content, likes, views in self._all(_CONTENTS, kinds)}

    def _table(self, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self._db.execute(f"CREATE OR REPLACE TABLE {columns}")
        if rows:
            places = ", ".join("?" * len(rows[0]))
            name = columns.partition("(")[0]
            self._db.executemany(f"INSERT INTO {name} VALUES ({places})", rows)  # noqa: S608 - names of our own

    def _all(self, sql: str, values: Any = None) -> list[Any]:
        return self._db.execute(sql, values).fetchall()

    def _number(self, sql: str, values: Any = None) -> int:
        ((number,),) = self._all(sql, values)
        return int(number)


def _activity(data: str) -> str | None:
    given = json.loads(data).get("activity")
    return given if isinstance(given, str) else None
