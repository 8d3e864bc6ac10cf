"""Signed URLs: what was signed works until its time, and nothing else does."""

import hashlib
import hmac
from urllib.parse import urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ingest_api.errors import ApiError
from ingest_api.url_signing import Signed, UrlSigner, parse_keys
from kinstream.errors import PermanentError

NEW, OLD = "n" * 32, "o" * 32
NOW_SECONDS = 1_000_000


def signer(*keys: str, now_seconds: int = NOW_SECONDS) -> UrlSigner:
    return UrlSigner(keys or (NEW,), now_ms=lambda: now_seconds * 1000)


apps = st.text("abcXYZ019._-", min_size=1, max_size=12)
paths = st.lists(st.text("abc019-._%", min_size=1, max_size=8), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
queries = st.dictionaries(
    st.text("abcw_", min_size=1, max_size=5).filter(lambda name: name not in ("app", "expires", "signature")),
    st.text(max_size=8).filter(lambda text: text.isprintable()) | st.integers(0, 5_000),
    max_size=4,
)
expiries = st.integers(NOW_SECONDS + 1, NOW_SECONDS + 10**9)


def code_of(url: str, by: UrlSigner) -> str | None:
    path, _, query = url.partition("?")
    try:
        by.check(path, query)
    except ApiError as error:
        return error.code if error.status == 403 else f"{error.status}"
    return None


def meaning(url: str) -> tuple[str, list[str]]:
    path, _, query = url.partition("?")
    return path, sorted(query.split("&"))


@given(apps, paths, queries, expiries)
def test_what_was_signed_is_believed_in_any_order_and_says_whose_it_is(app, path, query, expires):
    url = signer().sign(app, path, query, expires)
    _, _, sent = url.partition("?")
    for told in (sent, "&".join(reversed(sent.split("&")))):
        assert signer().check(path, told) == Signed(app, expires)


@given(apps, paths, queries, expiries, st.data())
def test_a_change_of_any_character_is_refused(app, path, query, expires, data):
    url = signer().sign(app, path, query, expires)
    at = data.draw(st.integers(0, len(url) - 1))
    other = data.draw(st.sampled_from("abcf0189=&%?/") | st.just(""))
    changed = url[:at] + other + url[at + 1 :]
    assume(meaning(changed) != meaning(url))
    assert code_of(changed, signer()) in ("invalid_signature", "unsigned")


@given(
    apps, paths, queries, expiries, st.sampled_from(["w=9", "expires=9999999999", "app=x", "", "signature=0"])
)
def test_a_part_more_or_less_is_refused(app, path, query, expires, more):
    url = signer().sign(app, path, query, expires)
    assert code_of(f"{url}&{more}", signer()) == "invalid_signature"
    path, _, sent = url.partition("?")
    for part in sent.split("&"):
        rest = "&".join(one for one in sent.split("&") if one != part)
        assert code_of(f"{path}?{rest}", signer()) in ("invalid_signature", "unsigned")


@given(apps, apps, paths, expiries)
def test_an_app_cannot_sign_for_another(app, other, path, expires):
    assume(app != other)
    mine = signer().key_of(other)
    rest = "&".join(sorted([f"app={app}", f"expires={expires}"]))
    forged = hmac.new(mine.encode(), f"{path}?{rest}".encode(), hashlib.sha256).hexdigest()
    assert code_of(f"{path}?{rest}&signature={forged}", signer()) == "invalid_signature"


@given(apps, paths, st.dictionaries(st.sampled_from(["w", "h", "fit"]), st.integers(1, 4_096)), expiries)
def test_a_server_that_signs_by_itself_writes_the_same_url(app, path, query, expires):
    told = sorted({"app": app, "expires": expires, **query}.items())
    rest = urlencode(told)
    key = signer().key_of(app)
    signature = hmac.new(key.encode(), f"{path}?{rest}".encode(), hashlib.sha256).hexdigest()
    assert f"{path}?{rest}&signature={signature}" == signer().sign(app, path, query, expires)


@given(st.integers(1, 10**6))
def test_an_expired_url_is_refused_and_says_so(ago):
    url = signer().sign("demo", "/x", {}, NOW_SECONDS)
    assert code_of(url, signer(now_seconds=NOW_SECONDS - 1)) is None
    assert code_of(url, signer(now_seconds=NOW_SECONDS - 1 + ago)) == "link_expired"


def test_while_a_key_is_replaced_urls_of_both_work_and_new_ones_have_the_new_key():
    old_url = signer(OLD).sign("demo", "/x", {}, NOW_SECONDS + 60)
    both = signer(NEW, OLD)
    assert code_of(old_url, both) is None
    assert both.sign("demo", "/x", {}, NOW_SECONDS + 60) == signer(NEW).sign(
        "demo", "/x", {}, NOW_SECONDS + 60
    )
    assert code_of(old_url, signer(NEW)) == "invalid_signature"


@given(st.integers(60, 604_800), st.integers(NOW_SECONDS, NOW_SECONDS + 10**6))
def test_expiries_leave_the_life_asked_for_and_no_more_than_a_quarter_more(life, now_seconds):
    left = signer(now_seconds=now_seconds).expiry(life) - now_seconds
    assert life <= left <= life + life // 4


def test_urls_of_about_the_same_time_are_the_same():
    made = {signer(now_seconds=NOW_SECONDS + second).expiry(3_600) for second in range(900)}
    assert len(made) <= 2


@pytest.mark.parametrize("keys", [[], ["short"], [NEW, "short"]])
def test_a_short_key_is_no_key(keys):
    with pytest.raises(PermanentError, match="32 characters"):
        UrlSigner(keys)


def test_the_setting_holds_one_key_or_two():
    assert parse_keys(f" {NEW} , {OLD},") == [NEW, OLD]
