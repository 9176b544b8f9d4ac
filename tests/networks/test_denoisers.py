"""The other denoisers: their frames exactly, their sizes, and that each of them learns."""

import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hpkit.networks.denoisers import (
    FramingUNet,
    Joint,
    Residual,
    UNetPlusPlus,
    frame_analysis,
    frame_synthesis,
)
from hpkit.networks.l2net import L2Net
from hpkit.networks.registry import DENOISERS, make_denoiser
from hpkit.networks.unet import UNet
from hpkit.training.losses import mae


def patches(n: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(seed)) * 255


def operations(model: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter:
        model(patches(1))
    return counter.get_total_flops()


def test_haar_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 8.0]], [[5.0, 5.0], [5.0, 5.0]]]])
    low, high = frame_analysis(x)
    assert low.flatten().tolist() == [7, 10]  # (1 + 2 + 3 + 8) / 2
    # left - right, top - bottom, diagonal: (4 - 10) / 2, (3 - 11) / 2, (9 - 5) / 2; of 5s nothing
    assert high.flatten().tolist() == [-3, 0, -4, 0, 2, 0]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 3), c=st.integers(1, 5),
       h=st.integers(1, 5), w=st.integers(1, 5))
def test_the_frame_is_tight(seed: int, n: int, c: int, h: int, w: int) -> None:
    x = torch.randn(n, c, 2 * h, 2 * w, generator=torch.Generator().manual_seed(seed))
    low, high = frame_analysis(x)
    assert low.shape == (n, c, h, w) and high.shape == (n, 3 * c, h, w)
    torch.testing.assert_close(frame_synthesis(low, high), x, rtol=1e-5, atol=1e-5)
    energy = (low**2).sum() + (high**2).sum()
    torch.testing.assert_close(energy, (x**2).sum(), rtol=1e-5, atol=1e-5)


def test_a_constant_is_all_in_the_low_band_and_the_low_band_alone_repeats_pixels() -> None:
    low, high = frame_analysis(torch.full((1, 2, 4, 4), 100.0))
    assert (low == 200).all() and not high.any()
    x = torch.randn(1, 2, 4, 4)
    alone = frame_synthesis(x, torch.zeros(1, 6, 4, 4))
    torch.testing.assert_close(alone, nn.Upsample(scale_factor=2, mode="nearest")(x) / 2)


@pytest.mark.parametrize(("name", "count"), [("unet", 59_777), ("unet++", 356_609),
                                             ("framing", 60_305)])
def test_sizes_shapes_and_seeds(name: str, count: int) -> None:
    build = partial(make_denoiser, name)
    model, again, other = build(4, 1, "orthogonal"), build(4, 1, "orthogonal"), build(depth=4)
    assert sum(weights.numel() for weights in model.parameters()) == count
    assert model(patches()).shape == (3, 1, 32, 32)
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(model.last.weight, other.last.weight)
    with pytest.raises(ValueError, match="unknown init 'he'"):
        build(init="he")


def test_only_the_unet_has_a_choice_of_depths() -> None:
    assert sum(weights.numel() for weights in make_denoiser("unet", depth=6).parameters()) == 320_193
    for name in ("unet++", "framing"):
        sentence = rf"depth of {re.escape(name)} is 6: expected one of 4"
        with pytest.raises(ValueError, match=sentence):
            make_denoiser(name, depth=6)
    with pytest.raises(ValueError, match="no denoiser 'vnet': expected one of unet, unet"):
        make_denoiser("vnet")


@pytest.mark.slow
def test_what_they_cost() -> None:
    """Multiplications and additions, against the U-Net that each is to be compared with."""
    assert 1.2 < operations(UNetPlusPlus()) / operations(UNet(6)) < 1.3
    assert 0.9 < operations(FramingUNet()) / operations(UNet(4)) < 1


def test_unet_plus_plus_without_its_middle_node_is_the_unet() -> None:
    """The weights that read x01 set to 0, the others copied: the same denoiser."""
    nested, plain = UNetPlusPlus(seed=0), UNet(6, seed=1)
    pairs = [(nested.x00, plain.down[0]), (nested.x10, plain.down[1]), (nested.x20, plain.bottom),
             (nested.up20, plain.up[0]), (nested.x11, plain.merge[0]), (nested.up11, plain.up[1]),
             (nested.last, plain.last)]
    for copy, original in pairs:
        copy.load_state_dict(original.state_dict())
    with torch.no_grad():
        weights, wide = plain.merge[1][0].weight, nested.x02[0].weight
        wide[:, :16], wide[:, 16:48], wide[:, 48:] = weights[:, :16], 0, weights[:, 16:]
    torch.testing.assert_close(nested(patches()), plain(patches()))


def test_the_high_bands_skip_across() -> None:
    """With all that the low band and the usual skip say held at 0, a checkerboard still shows."""
    model = FramingUNet(seed=0)
    with torch.no_grad():
        model.back[0].weight.zero_()
        model.merge[0].weight[:, :16] = 0
    ramp = torch.arange(32.0)[:, None] + torch.arange(32.0)
    assert model(torch.zeros(1, 1, 32, 32)).abs().max() == 0
    assert model((ramp % 2 * 200)[None, None]).abs().max() > 1


def test_residual_of_nothing_is_the_identity() -> None:
    network = UNet(seed=0)
    for weights in network.parameters():
        nn.init.zeros_(weights)
    assert torch.equal(Residual(network)(patches()), patches())
    doubling = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(doubling.weight, 2)
    assert torch.equal(Residual(doubling)(patches()), -patches())


def test_residual_and_joint_are_saved_and_loaded_like_any_module() -> None:
    for build in (lambda seed: Residual(UNet(seed=seed)),
                  lambda seed: Joint(Residual(UNet(seed=seed)), L2Net(seed=seed)).eval()):
        model, copy = build(1), build(2)
        assert not torch.equal(model(patches()), copy(patches()))
        copy.load_state_dict(model.state_dict())
        assert torch.equal(model(patches()), copy(patches()))


def test_joint_is_one_after_the_other_and_trains_both() -> None:
    denoiser, descriptor = UNet(seed=0), L2Net(seed=0).eval()
    model = Joint(denoiser, descriptor)
    assert torch.equal(model(patches()), descriptor(denoiser(patches())))
    (model(patches()) ** 2).mean().backward()
    for part in (denoiser, descriptor):
        assert all(weights.grad.abs().sum() > 0 for name, weights in part.named_parameters()
                   if name.endswith("weight"))


@pytest.mark.slow
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", DENOISERS)
def test_each_learns(name: str, residual: bool) -> None:
    model = make_denoiser(name, seed=0)
    model = Residual(model) if residual else model
    generator = torch.Generator().manual_seed(0)
    clean = F.interpolate(patches(4)[..., :4, :4], 32, mode="bilinear")
    noisy = clean + 20 * torch.randn(clean.shape, generator=generator)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-3), []
    for _ in range(20):
        losses.append(mae(model(noisy), clean))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.85 * losses[0]
    assert all(weights.grad.any() for weights in model.parameters())  # no part is left out
