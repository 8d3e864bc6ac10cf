"""Pages of sessions that take more reading than a page is given."""

from benchmarks.session_read import APP, DEVICE, SHAPES, SortedLedger, buckets_of, ledger_item
from ingest_api.composition import Place
from ingest_api.session_reads import MOST_MOMENTS, SessionQuery, SessionReads
from kinstream.dynamo import to_item
from kinstream.views.sessions import moments_in, sessions_of

EVENTS = 3 * MOST_MOMENTS
FAR_MS = 10**13


async def test_page_that_read_enough_ends_early_and_the_next_ones_go_on_where_it_did():
    buckets = buckets_of(SHAPES[-1], EVENTS)
    expected = list(sessions_of(moment for bucket in buckets for moment in moments_in(bucket)))
    reads = SessionReads(SortedLedger(to_item(ledger_item("fam", bucket)) for bucket in buckets), "ledger")
    found, pages, more, after = [], 0, True, None
    while more:
        page, more = await reads.page(SessionQuery(APP, "fam", 0, FAR_MS, 100, None, after), 0)
        found += page
        pages += 1
        after = Place(found[-1].started_ms, DEVICE)
    assert [one.session for one in found] == expected
    assert not any(one.standing.provisional for one in found)
    assert pages > 1
