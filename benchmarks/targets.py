"""The numbers to reach, as the design's section 11 has them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A line of the table before anything is measured."""

    what: str
    against: str
    reach: str


TARGETS = {
    "ingest-50": Target(
        "ingest, 50 events a request, durable answer: CPU an event",
        "bare uvicorn that only decodes the same body with msgspec",
        "at most 2.0x",
    ),
    "ingest-1": Target("ingest, 1 event a request: CPU an event", "the same", "at most 2.5x"),
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
    "video": Target(
        "video to MP4: CPU",
        "ffmpeg command line, same codec settings",
        "at most 1.05x, size within 1 %, SSIM within 0.002",
    ),
    "thumbnails": Target(
        "three thumbnails of a 12 MP JPEG: CPU",
        "sharp, one decode and a cascade",
        "at most 1.0x at no lower PSNR",
    ),
    "recommendations": Target(
        "recommendations: NDCG@10, temporal split",
        "recency-weighted popularity; `implicit` ALS",
        "above both",
    ),
    "cost": Target(
        "cost per million events, all AWS charges of the path",
        "one Lambda invocation an event with a DynamoDB write each",
        "at most 1/5",
    ),
}
