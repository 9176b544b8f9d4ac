"""Damaged files, and files made to harm: refused in a sentence that names the file, or harmless.

HPKIT_EXAMPLES is how often each kind of file is damaged (`make faults`: 1,000).
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from damage import READERS, same_but_for_names
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("HPKIT_EXAMPLES", "100"))
KINDS = ("a byte changed", "cut", "zeros")


def damaged(content: bytes, kind: str, place: int, flip: int) -> bytes:
    """One byte is another, the rest is missing, or (as after a power cut) is zeros."""
    if kind == "a byte changed":
        return content[:place] + bytes([content[place] ^ flip]) + content[place + 1:]
    return content[:place] + (b"" if kind == "cut" else bytes(len(content) - place))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_or_does_not_matter(name, tmp_path_factory):
    """Never another result than before, but where the format has no checksum: `Reader.others`."""
    reader, folder = READERS[name], tmp_path_factory.mktemp("files")
    reader.make(folder)
    whole = {path: path.read_bytes() for path in sorted(folder.glob(reader.files))}
    right, seen = reader.read(folder), Counter()
    assert whole and reader.read(folder) == right

    @settings(max_examples=EXAMPLES, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(st.data())
    def damage(data):
        path = data.draw(st.sampled_from(list(whole)), "file")
        place = data.draw(st.integers(0, len(whole[path]) - 1), "place")
        kind = data.draw(st.sampled_from(KINDS), "kind")
        path.write_bytes(damaged(whole[path], kind, place, data.draw(st.integers(1, 255), "flip")))
        try:
            found = reader.read(folder)
        except (ValueError, OSError) as error:
            assert str(folder) in str(error), f"names no file: {error!r}"
            assert len(str(error).splitlines()) == 1, f"no sentence: {error}"
            seen["refused"] += 1
        else:
            assert found == right or reader.others, "taken for right"
            assert name != "splits.json" or same_but_for_names(right, found)
            seen["harmless" if found == right else reader.others] += 1
        finally:
            path.write_bytes(whole[path])

    damage()
    assert seen["refused"] >= EXAMPLES // 20
    assert reader.read(folder) == right
    if report := os.environ.get("HPKIT_FAULTS_REPORT"):  # of tests/faults/kills.py
        with Path(report).open("a") as file:
            file.write(json.dumps({"what": name, **seen}) + "\n")
