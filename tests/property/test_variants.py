"""Names of variants: one each, and each leads back."""

from contextlib import suppress
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinstream.catalog.variants import MAX_SIDE, Fit, ImageFormat, VariantSpec
from kinstream.errors import PermanentError

sides = st.none() | st.integers(1, MAX_SIDE)
specs = st.builds(
    VariantSpec,
    width=st.integers(1, MAX_SIDE),
    height=sides,
    fit=st.sampled_from(get_args(Fit)),
    format=st.sampled_from(get_args(ImageFormat)),
    quality=st.integers(1, 100),
)


@given(specs)
def test_a_name_and_the_arguments_lead_back_to_the_spec(spec):
    assert VariantSpec.parse(spec.name) == spec
    assert VariantSpec.of_arguments(spec.arguments) == spec
    assert len(spec.name) <= 64


@given(specs, specs)
def test_two_specs_share_a_name_only_when_they_are_equal(one, other):
    assert (one.name == other.name) == (one == other)


@given(
    st.text(max_size=60) | st.from_regex(r"image(-w\d{1,5})?(-h\d{1,5})?-\w+-\w+-q\d{1,4}", fullmatch=True)
)
def test_any_other_text_is_refused(text):
    with suppress(PermanentError):
        assert VariantSpec.parse(text).name == text


def test_with_one_side_open_all_fits_are_the_same_variant():
    assert VariantSpec(width=640, fit="cover") == VariantSpec(width=640, fit="inside")
    assert VariantSpec(width=640, format="png", quality=9) == VariantSpec(width=640, format="png")
    assert VariantSpec(width=640).box == (640, MAX_SIDE)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"width": 0},
        {"height": MAX_SIDE + 1},
        {"width": 640, "fit": "fill"},
        {"width": 640, "format": "gif"},
        {"width": 640, "quality": 0},
        {"width": 640, "quality": 101},
        {"width": 640, "colour": "red"},
    ],
)
def test_what_is_out_of_bounds_is_no_variant(wrong):
    with pytest.raises(PermanentError):
        VariantSpec.of_arguments(wrong)
