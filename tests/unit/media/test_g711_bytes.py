"""The quick way to G.711 gives what the plain one gives."""

from __future__ import annotations

from array import array

import pytest

from gateway.codecs.g711 import encode, encode_bytes

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@pytest.mark.parametrize("samples", [range(0), range(5, 6), range(-32768, 32768)])
def test_the_quick_way_is_the_same(codec: str, samples: range) -> None:
    sound = array("h", samples)
    assert encode_bytes(codec, sound.tobytes()) == encode(codec, sound)
