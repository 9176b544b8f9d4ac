"""Published networks: from a server of made weights, and one sentence where there is none."""

import io
import sys

import numpy as np
import pytest
import torch
from web import serve, status

from hpkit.evaluation import peers
from hpkit.evaluation.describe import describe
from hpkit.evaluation.peers import PEERS, PeerMissing, available, peer

DESCRIPTORS = ("HardNet", "SOSNet", "HyNet")
NOBODY = "http://127.0.0.1:9"  # refuses at once


@pytest.fixture
def kornia():
    return pytest.importorskip("kornia.feature")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HPKIT_PEERS", NOBODY)  # no test asks the real one
    return tmp_path / "cache"


def as_file(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def made(kornia, name):
    """A network of kornia with random weights, and what a server would give of them."""
    torch.manual_seed(0)
    network = getattr(kornia, name)(pretrained=False).eval()
    weights = network.state_dict()
    content = {"state_dict": weights} if name == "HardNet" else weights
    return network, {f"/{PEERS[name].files[0]}": as_file(content)}


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_a_descriptor_is_kornias_on_patches_from_0_to_1(kornia, name):
    network, files = made(kornia, name)
    patches = np.random.default_rng(0).integers(0, 256, (3, 2, 32, 32), np.uint8)
    with serve(files) as site, torch.inference_mode():
        found = describe(peer(name, site.url), patches, precision="float32")
        expected = network(torch.tensor(patches).float().view(6, 1, 32, 32) / 255)
        assert found.shape == (3, 2, 128)
        assert np.allclose(found.reshape(6, 128), expected.numpy(), atol=1e-4)
        assert np.allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-4)
        peer(name, site.url)                                  # kept: it is not asked again
        assert len(site.requests) == 1


def test_a_network_of_a_peer_sees_grey_levels_from_0_to_1():
    """Random weights without a bias would not notice, so an identity has to."""
    seen = peers.OnUnitScale(torch.nn.Identity())(torch.tensor([0.0, 51, 255]))
    assert torch.allclose(seen, torch.tensor([0, 0.2, 1]))


def older_names(weights):
    """LightGlue's weights as they are published."""
    renamed = {}
    for name, value in weights.items():
        first, _, rest = name.partition(".")
        if first == "transformers":
            number, kind, rest = rest.split(".", 2)
            name = f"{kind}.{number}.{rest}"
        renamed[name] = value
    return renamed


@pytest.mark.slow
def test_two_photos_are_matched_by_disk_and_lightglue(kornia):
    torch.manual_seed(0)
    disk, glue = kornia.DISK(), kornia.LightGlue(None, input_dim=128)
    first, second = (f"/{file}" for file in PEERS["DISK + LightGlue"].files)
    files = {first: as_file({"extractor": disk.state_dict()}),
             second: as_file(older_names(glue.state_dict()))}
    photo = np.random.default_rng(0).integers(0, 256, (70, 90), np.uint8)
    with serve(files) as site:
        matcher = peer("DISK + LightGlue", site.url)
    loaded = matcher.lightglue.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in glue.state_dict().items())
    matcher.lightglue.conf.filter_threshold = 0.0             # random weights are never sure
    pairs = matcher(photo, photo, number=40)
    assert pairs.shape[1] == 4 and 0 < len(pairs) <= 40
    assert (pairs[:, [0, 2]] < 90).all() and (pairs[:, [1, 3]] < 70).all()
    assert matcher(photo, photo, number=1).shape == (0, 4)    # LightGlue wants two


def test_a_folder_of_weights_does_as_well(kornia, tmp_path):
    _, files = made(kornia, "HyNet")
    for name, content in files.items():
        path = tmp_path / name.strip("/")
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    assert list(available(["HyNet"], str(tmp_path))[0]) == ["HyNet"]
    with pytest.raises(PeerMissing, match=r"sosnet_32x32_liberty.pth: not found, expected"):
        peer("SOSNet", str(tmp_path))


def test_without_a_network_one_sentence_names_all_that_is_missing(kornia, cache):
    found, said = available(DESCRIPTORS)
    assert found == {} and not cache.exists()
    assert said == (f"Left out: HardNet, SOSNet, HyNet. No weights: {NOBODY} did not answer "
                    "(ConnectionError); once you are online, run this again.")


def test_without_kornia_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia.feature", None)
    assert available(["HardNet", "HyNet"]) == (
        {}, "Left out: HardNet, HyNet. kornia is not installed (pip install kornia).")


def test_a_file_that_moved_costs_only_its_own_network(kornia):
    _, files = made(kornia, "SOSNet")
    with serve(files) as site:
        found, said = available(["HardNet", "SOSNet"], site.url)
    assert list(found) == ["SOSNet"]
    assert said.startswith("Left out: HardNet. No weights: http") and said.endswith(" 404.")


@pytest.mark.parametrize("content", [b"", b"<html>", as_file({"no": torch.ones(3)}),
                                     as_file({"state_dict": {"no": torch.ones(3)}})])
def test_what_is_no_weights_is_a_sentence_too(kornia, content):
    with serve({f"/{PEERS['HardNet'].files[0]}": content}) as site:
        said = available(["HardNet"], site.url)[1]
    assert "not the weights of HardNet" in said and len(said) < 300 and "\n" not in said


def test_a_server_that_is_ill_is_told_by_its_number(kornia):
    _, files = made(kornia, "HyNet")
    with serve(files, faults=[status(503)]) as site:
        assert available(["HyNet"], site.url)[1].endswith("answered 503.")
        assert available(["HyNet"], site.url)[1] == ""        # and asked again the next time


def test_a_stranger_is_named_with_those_who_are_known():
    with pytest.raises(ValueError, match="no peer 'LIFT': there are HardNet, SOSNet, HyNet, DISK"):
        peer("LIFT")


def test_the_files_are_those_that_kornia_itself_looks_for_first(kornia):
    """So a new home of the weights is noticed with a new kornia."""
    from kornia.feature import disk, hardnet, hynet, sosnet

    if not hasattr(disk.disk, "urls"):
        pytest.skip("a kornia before 0.9, which asks the authors' own servers")
    addresses = [hardnet.urls["liberty_aug"], sosnet.urls["lib"], hynet.urls["liberty"],
                 disk.disk.urls["depth"]]
    ours = [f"{peers.SOURCE}/{PEERS[name].files[0]}" for name in PEERS]
    assert ours == [urls[0] for urls in addresses]
