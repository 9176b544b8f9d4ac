"""Photos of different things: the recorded row is what this code gives, and nothing is hidden."""

import alarms
import numpy as np
import pytest
import readme

from hpkit.data.photos import photo_table, read_photo
from hpkit.experiments.arms import recorded
from hpkit.networks.pretrained import card
from hpkit.record import unrelated

COUNTS = list(unrelated.REASONS.values())


def test_every_kind_and_photo_is_recorded_and_every_pair_is_counted():
    """Red: run `hpkit record unrelated` again."""
    table = recorded("unrelated")
    expected = [(kind, name) for kind in unrelated.KINDS for name in photo_table().name]
    assert list(table[["kind", "photo"]].itertuples(index=False, name=None)) == expected
    assert (table[COUNTS].sum(axis=1) == table.pairs).all() and 1500 < table.pairs.sum() < 2500
    assert set(table.weights) == {f"sha256 {card()['sha256'][:12]}"}
    others = table[table.kind != "its mirror image"]
    assert (others.pairs == unrelated.FIRST * unrelated.SECOND).all()


def test_the_table_of_false_alarms_is_fresh():
    assert readme.table(alarms.COMMAND) == alarms.table(), "run tests/helpers/alarms.py"


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("kind", "name"), [
    ("noise", "page"), ("its mirror image", "text"), ("another photo", "retina"),
])
def test_a_recorded_row_can_be_made_again(kind, name):
    kept = recorded("unrelated").query("kind == @kind and photo == @name").iloc[0]
    made = unrelated.row(kind, name)
    assert {column: made[column] for column in COUNTS} == kept[COUNTS].to_dict()
    assert made["matches"] == kept.matches


def test_pieces_lie_in_the_photo_and_differ():
    photo, random = read_photo("page"), np.random.RandomState(0)
    pieces = [unrelated.piece(photo, random) for _ in range(9)]
    assert all(p.shape[0] == 191 and 200 <= p.shape[1] <= 384 for p in pieces)
    assert len({p.shape for p in pieces}) > 3
    whole = unrelated.piece(photo[:100, :100], random)
    assert np.array_equal(whole, photo[:100, :100])


def test_noise_is_a_picture_and_no_photo_meets_itself():
    random = np.random.RandomState(0)
    made = unrelated.another("noise", "page", random)
    assert made.dtype == np.uint8 and made.min() == 0 and made.max() >= 254
    state = random.get_state()
    plain = unrelated.another("another photo", "page", random)
    random.set_state(state)
    assert np.array_equal(255 - plain, unrelated.another("inverted", "page", random))
