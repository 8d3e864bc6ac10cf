"""What a key is, and what may be known of it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinstream.errors import PermanentError
from kinstream.registry import create_key, parse_key

APPS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@given(APPS, st.sampled_from(["write", "secret"]))
def test_a_key_tells_its_app_and_its_kind_and_no_two_are_alike(app, kind):
    text, key = create_key(app, kind)
    other, another = create_key(app, kind)
    assert parse_key(text) == key
    assert (key.app, key.kind) == (app, kind)
    assert text != other
    assert key.hash != another.hash


def test_what_is_kept_of_a_key_does_not_hold_it():
    text, key = create_key("photos", "secret")
    random = text.rpartition("_")[2]
    assert len(random) >= 32
    assert random not in repr(key)
    assert random not in key.label


@pytest.mark.parametrize("app", ["", "a b", "a/b", "ä", "_a", "-a", ".a", "a" * 65, "a=b", "a\n", "*"])
def test_a_name_that_could_not_be_part_of_a_key_is_refused(app):
    with pytest.raises(PermanentError, match="is no name of an app"):
        create_key(app, "write")


@pytest.mark.parametrize("text", ["", "kw_", "kw_a_short", "kx_a_" + "x" * 32, "a" * 300, "ks__" + "x" * 32])
def test_what_has_not_a_keys_form_is_no_key(text):
    with pytest.raises(PermanentError, match="is no Kinstream key"):
        parse_key(text)


@given(st.text(max_size=300))
def test_any_text_is_a_key_or_is_refused(text):
    with suppress(PermanentError):
        assert parse_key(text).app
