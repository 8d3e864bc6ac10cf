"""How many distinct members a set has, from a sketch that a DynamoDB number set holds.

HyperLogLog with 256 registers (Flajolet et al. 2007, with linear counting for small sets): standard
error 6.5 %. A register is stored as the numbers `bucket * 64 + rank` seen for it, so that adding is a
set union: no read, and adding twice changes nothing.
"""

import math
from collections.abc import Iterable
from hashlib import blake2b

REGISTERS = 256
_RANKS = 64
_ALPHA = 0.7213 / (1 + 1.079 / REGISTERS)


def register_of(member: str) -> int:
    """The number that stands for a member in the set."""
    bits = int.from_bytes(blake2b(member.encode(), digest_size=8).digest(), "big")
    rest = bits >> 8
    rank = 57 - rest.bit_length()
    return (bits & 0xFF) * _RANKS + rank


def estimate(registers: Iterable[int]) -> int:
    """About how many distinct members were added; the union of several sets estimates their union."""
    ranks = [0] * REGISTERS
    for number in registers:
        bucket, rank = divmod(number, _RANKS)
        ranks[bucket] = max(ranks[bucket], rank)
    empty = ranks.count(0)
    raw = _ALPHA * REGISTERS**2 / sum(2.0**-rank for rank in ranks)
    if empty and raw <= 2.5 * REGISTERS:
        return round(REGISTERS * math.log(REGISTERS / empty))
    return round(raw)
