"""The numbers to reach, as the design's section 11 has them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A line of the table before anything is measured."""

    what: str
    against: str
    reach: str


DEFAULT = (
    *("ingest-50", "ingest-1", "worker", "write-units"),
    *("video", "thumbnails", "recommendations", "cost"),
)
"""The rows that are measured where none is named; each other one takes minutes."""

GROUPS = {
    "ingest": (
        *("ingest-50", "ingest-1", "ingest-fastapi"),
        *("ingest-p99", "ingest-memory", "ingest-emulator", "fairness"),
    ),
    "recommender": (
        *("recommendations", "als-alone", "coverage", "leave-last-out"),
        *("training-growth", "training-due", "recommendations-read"),
    ),
    "ledger": ("worker", "write-units", "growth", "session-read"),
    "media": ("video", "remux", "thumbnails", "media-mix"),
}
"""Names that stand for several rows."""

TARGETS = {
    "ingest-50": Target(
        "ingest, 50 events a request, durable answer: CPU an event",
        "bare uvicorn that only decodes the same body with msgspec",
        "at most 2.0x",
    ),
    "ingest-1": Target("ingest, 1 event a request: CPU an event", "the same", "at most 2.5x"),
    "ingest-fastapi": Target(
        "ingest, 1 event a request: requests a second on one core",
        "a FastAPI route with a pydantic model of the same event that publishes nothing",
        "at least 2x",
    ),
    "ingest-p99": Target(
        "ingest: p99 from when a request was due, open loop at half of the most",
        "a closed loop's most",
        "under 25 ms",
    ),
    "ingest-memory": Target(
        "ingest: resident memory over 5 minutes at half of the most",
        "where it stood after the first minute",
        "under +20 MB",
    ),
    "ingest-emulator": Target(
        "ingest before a real SNS and SQS emulator: events lost at 5,000 events/s for 60 s",
        "what was sent: all acknowledged, all in a processor's queue",
        "none",
    ),
    "fairness": Target(
        "ingest: p99 of a quiet app beside one at ten times its limit",
        "the same app alone",
        "at most 2x",
    ),
    "session-read": Target(
        "GET sessions of a customer with 100,000 events: CPU of a page",
        "nothing: a limit",
        "at most 200 ms",
    ),
    "worker": Target(
        "session-worker: CPU an event, message to commit",
        "msgspec decode and a plain Python fold of the same events",
        "at most 5x",
    ),
    "write-units": Target(
        "DynamoDB write units per 1,000 events, batches of 10 a customer",
        "one conditional write an event plus its counters in a transaction",
        "at most 1,500",
    ),
    "growth": Target(
        "session-worker: events a second of one core's CPU at 1,000, 100,000 and 1,000,000 customers",
        "one another, DynamoDB at a stub",
        "flat within 20 %",
    ),
    "video": Target(
        "video to MP4: CPU",
        "ffmpeg command line, same codec settings",
        "at most 1.05x, size within 1 %, SSIM within 0.002",
    ),
    "remux": Target(
        "video that needs no encoding, to MP4: CPU",
        "ffmpeg command line, `-c copy`",
        "at most 1.3x",
    ),
    "thumbnails": Target(
        "three thumbnails of a 12 MP JPEG: CPU",
        "sharp, one decode and a cascade",
        "at most 1.0x at no lower PSNR",
    ),
    "media-mix": Target(
        "three 720p videos and 200 photos at once on 2 media-workers: throughput and memory",
        "the same workers with the videos alone, then with the photos alone",
        "at least 90 %, under 600 MB a worker",
    ),
    "recommendations": Target(
        "recommendations: NDCG@10, temporal split",
        "trending; popularity; `implicit` ALS with its best settings",
        "at least .230, 1.5x popularity, above all",
    ),
    "als-alone": Target(
        "Spark ALS alone: NDCG@10, the same split", "`implicit` ALS with its best settings", "at least .17"
    ),
    "coverage": Target(
        "share of the catalogue that lists show", "lists without the rules", "at least 15 % for 5 % of NDCG"
    ),
    "leave-last-out": Target("Spark ALS: NDCG@10 of everybody's last view", "popularity", "at least .065"),
    "training-growth": Target(
        "a training of 100,000, 1 and 5 million events on two cores", "one another", "at most linear"
    ),
    "training-due": Target("one run for 1,000 due customers", "one run for a single one", "at most 1.2x"),
    "recommendations-read": Target(
        "GET recommendations: the server's own time", "nothing: a limit", "under 10 ms"
    ),
    "cost": Target(
        "cost per million events, all AWS charges of the path",
        "one Lambda invocation an event with a DynamoDB write each",
        "at most 1/5",
    ),
}
