"""AYON's order of versions, and that it is a total one."""

from __future__ import annotations

import itertools
import random

import pytest
import semantic_version
from hypothesis import given
from hypothesis import strategies as st

from ayon_async.semver import parse, sort_key

ORDERED = [
    # not semantic, numbers by value
    "1.0",
    "01.2.3",
    "1.2.3.dev1",
    "1.2.3.dev10",
    "2",
    "v2",
    "v10",
    # semantic
    "0.0.0-0",
    "0.0.1",
    "1.0.0-1",
    "1.0.0-2",
    "1.0.0-11",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-nightly",
    "1.0.0-nightly.1",
    "1.0.0-nightly.2",
    "1.0.0-nightly.10",
    "1.0.0-rc.1",
    "1.0.0-yourstudio.1",
    "1.0.0-yourstudio.2",
    "1.0.0",
    "1.0.0+1",
    "1.0.0+2",
    "1.0.0+10",
    "1.0.0+10.a",
    "1.0.0+a",
    "1.0.1-nightly.1",
    "1.0.1-yourstudio.1",
    "1.0.1",
    "1.1.0",
    "1.2.0",
    "1.10.0",
    "2.0.0",
]

NOT_SEMANTIC = ["1.0", "v2", "1.2.3.dev1", "01.2.3", "", " 1.0.0", "1.0.0\n", "latest", "1.0.0-01", "9" * 5000 + ".0.0"]


identifier = st.from_regex(r"\A(?:0|[1-9][0-9]{0,3}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]{0,3})\Z")
semantic = st.builds(
    lambda release, pre, build: (
        ".".join(map(str, release)) + ("-" if pre else "") + pre + ("+" if build else "") + build
    ),
    st.tuples(*[st.integers(0, 12)] * 3),
    st.lists(identifier, max_size=3).map(".".join),
    st.lists(identifier, max_size=2).map(".".join),
)
anything = semantic | st.sampled_from(ORDERED) | st.text("01.v-+aé٣²", max_size=8) | st.text(max_size=8)


@pytest.mark.parametrize("seed", range(5))
def test_order_whatever_the_input_order(seed: int) -> None:
    shuffled = ORDERED.copy()
    random.Random(seed).shuffle(shuffled)
    assert sorted(shuffled, key=sort_key) == ORDERED


@pytest.mark.parametrize("version", NOT_SEMANTIC, ids=lambda version: repr(version[:9]))
def test_not_semantic(version: str) -> None:
    assert parse(version) is None
    assert sort_key(version) < sort_key("0.0.0-0")


@given(st.lists(anything, unique=True, min_size=2, max_size=6), st.randoms())
def test_total_order(versions: list[str], rng: random.Random) -> None:
    expected = sorted(versions, key=sort_key)
    rng.shuffle(versions)
    assert sorted(versions, key=sort_key) == expected
    for lower, higher in itertools.combinations(expected, 2):
        assert sort_key(lower) < sort_key(higher)
        assert not sort_key(higher) < sort_key(lower)


@given(semantic, semantic)
def test_precedence_is_the_specification_s(one: str, other: str) -> None:
    keys = [semantic_version.Version(version).precedence_key for version in (one, other)]
    if keys[0] < keys[1]:
        assert sort_key(one) < sort_key(other)
