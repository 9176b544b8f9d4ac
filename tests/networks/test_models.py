"""The networks against the coursework's tables, and their padding and weights against formulas."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hpkit.networks.l2net import L2Net
from hpkit.networks.layers import INITIALIZERS, conv
from hpkit.networks.unet import DEPTHS, UNet

UNET_TABLE = [  # (weights in, out, height, width), output (C, H, W) of each convolution
    ((16, 1, 3, 3), (16, 32, 32)), ((32, 16, 3, 3), (32, 16, 16)), ((64, 32, 2, 2), (64, 32, 32)),
    ((64, 80, 3, 3), (64, 32, 32)), ((1, 64, 3, 3), (1, 32, 32)),
]
L2NET_TABLE = [
    ((32, 1, 3, 3), (32, 32, 32)), ((32, 32, 3, 3), (32, 32, 32)), ((64, 32, 3, 3), (64, 16, 16)),
    ((64, 64, 3, 3), (64, 16, 16)), ((128, 64, 3, 3), (128, 8, 8)),
    ((128, 128, 3, 3), (128, 8, 8)), ((128, 128, 8, 8), (128, 1, 1)),
]


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]


def patches(n: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(seed)) * 255


def trainable(model: nn.Module) -> int:
    return sum(weights.numel() for weights in model.parameters() if weights.requires_grad)


@pytest.mark.parametrize(("depth", "count"), [(4, 59_777), (6, 320_193), (8, 1_361_217)])
def test_unet_parameter_count_and_shape(depth: int, count: int) -> None:
    model = UNet(depth, seed=0)
    assert trainable(model) == count
    assert model(patches()).shape == (3, 1, 32, 32)


def test_l2net_parameter_counts_and_shape() -> None:
    model = L2Net(seed=0)
    running = sum(b.numel() for name, b in model.named_buffers() if "running" in name)
    assert trainable(model) == 1_336_032
    assert trainable(model) + running == 1_336_928
    assert model(patches()).shape == (3, 128)


@pytest.mark.parametrize(("model", "table"), [(UNet(), UNET_TABLE), (L2Net(), L2NET_TABLE)])
def test_layers_are_those_of_the_coursework(model: nn.Module, table: list) -> None:
    seen = []
    for layer in convolutions(model):
        layer.register_forward_hook(
            lambda layer, _, out: seen.append((tuple(layer.weight.shape), tuple(out.shape[1:]))))
    model(patches(2))
    assert seen == table
    assert all(layer.bias is not None for layer in convolutions(model))


def test_l2net_order_of_layers() -> None:
    kinds = [type(layer).__name__ for layer in L2Net().layers]
    padded = [k.replace("Sequential", "Conv2d") for k in kinds]  # bottom-right padding, then conv
    assert padded == ["Conv2d", "BatchNorm2d", "ReLU"] * 6 + ["Dropout", "Conv2d", "Flatten"]
    assert next(m.p for m in L2Net().modules() if isinstance(m, nn.Dropout)) == 0.3


def test_unet_equals_the_table_written_out() -> None:
    model, x = UNet(seed=3), patches()
    (w1, b1), (w2, b2), (w3, b3), (w4, b4), (w5, b5) = (
        (layer.weight, layer.bias) for layer in convolutions(model))
    conv1 = F.relu(F.conv2d(x, w1, b1, padding=1))
    conv2 = F.relu(F.conv2d(F.max_pool2d(conv1, 2), w2, b2, padding=1))
    large = conv2.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    up3 = F.relu(F.conv2d(F.pad(large, (0, 1, 0, 1)), w3, b3))
    conv3 = F.relu(F.conv2d(torch.cat([conv1, up3], dim=1), w4, b4, padding=1))
    torch.testing.assert_close(model(x), F.conv2d(conv3, w5, b5, padding=1))


@pytest.mark.parametrize(("kernel", "stride", "before"), [(3, 1, 1), (2, 1, 0), (3, 2, 0)])
def test_same_padding_is_that_of_keras(kernel: int, stride: int, before: int) -> None:
    layer = conv(1, 1, kernel, stride)
    core, rng = convolutions(layer)[0], np.random.default_rng(0)
    weights, image = rng.normal(size=(kernel, kernel)), rng.normal(size=(8, 8))
    with torch.no_grad():
        core.weight.copy_(torch.from_numpy(weights))
        core.bias.fill_(0.5)
    side, padded = 8 // stride, np.zeros((12, 12))
    padded[before:before + 8, before:before + 8] = image
    expected = np.full((side, side), 0.5)
    for y, x in np.ndindex(side, side):
        window = padded[y * stride:y * stride + kernel, x * stride:x * stride + kernel]
        expected[y, x] += (weights * window).sum()
    out = layer(torch.from_numpy(image).float()[None, None]).detach().numpy()[0, 0]
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_nothing_is_normalised_on_the_way_in_or_out() -> None:
    unet, l2net, x = UNet(seed=0), L2Net(seed=0).eval(), patches()
    assert torch.equal(unet(2 * x), 2 * unet(x))  # true of ReLU layers whose biases are zero
    lengths = l2net(x).norm(dim=1)
    assert lengths.max() > 1.01 * lengths.min()


def test_batch_norm_settings_are_those_of_keras() -> None:
    model, x = L2Net(seed=0), patches(8)
    first, norm = model.layers[0], model.layers[1]
    model(x)
    torch.testing.assert_close(norm.running_mean, 0.01 * first(x).mean(dim=(0, 2, 3)))
    assert norm.eps == 1e-3
    out, raw = norm(first(x)), first(x)
    variance = raw.var(dim=(0, 2, 3), unbiased=False)[None, :, None, None]
    centred = raw - raw.mean(dim=(0, 2, 3), keepdim=True)
    torch.testing.assert_close(out, centred / (variance + 1e-3).sqrt(), rtol=1e-3, atol=1e-3)


VARIANCE = {  # of a weight, from the numbers of inputs and outputs
    "he_normal": lambda i, o: 2 / i, "lecun_uniform": lambda i, o: 1 / i,
    "xavier_normal": lambda i, o: 2 / (i + o), "xavier_uniform": lambda i, o: 2 / (i + o),
}


@pytest.mark.parametrize("init", VARIANCE)
def test_initial_weights_have_their_variance_and_bounds(init: str) -> None:
    for layer in convolutions(L2Net(seed=1, init=init))[1:]:
        area = layer.kernel_size[0] * layer.kernel_size[1]
        sigma = VARIANCE[init](layer.in_channels * area, layer.out_channels * area) ** 0.5
        largest = layer.weight.abs().max() / sigma
        bound = 3**0.5 if "uniform" in init else 2 / 0.87962566
        assert 0.97 * bound < largest <= bound * 1.00001
        assert layer.weight.std().item() == pytest.approx(sigma, rel=0.03)
        assert layer.weight.mean().abs() < 4 * sigma / layer.weight.numel() ** 0.5
        assert not layer.bias.any()


def test_he_normal_is_a_bell_and_lecun_uniform_is_flat() -> None:
    def near_zero(init: str) -> float:  # share of the weights in the middle quarter of their range
        weights = convolutions(L2Net(seed=1, init=init))[-1].weight.abs()
        return float((weights < weights.max() / 4).float().mean())

    assert near_zero("lecun_uniform") == pytest.approx(0.25, abs=0.005)
    assert near_zero("he_normal") == pytest.approx(0.3829 / 0.9545, abs=0.005)  # P(|z|<.5 | |z|<2)


def test_orthogonal_weights_are_orthonormal() -> None:
    for layer in convolutions(L2Net(seed=1, init="orthogonal")):
        matrix = layer.weight.detach().flatten(1)
        matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("init", INITIALIZERS)
def test_last_unet_layer_is_glorot_uniform_whatever_the_others(init: str) -> None:
    weights = UNet(seed=2, init=init).last.weight
    limit = (6 / (9 * 64 + 9 * 1)) ** 0.5
    assert 0.97 * limit < weights.abs().max() <= limit
    assert weights.std().item() == pytest.approx(limit / 3**0.5, rel=0.08)


@pytest.mark.parametrize("build", [UNet, L2Net])
def test_seed_alone_decides_the_weights(build: type) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other, unseeded = build(seed=1), build(seed=1), build(seed=2), build()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(5)
    assert not torch.equal(convolutions(unseeded)[0].weight, convolutions(build())[0].weight)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(convolutions(first)[0].weight, convolutions(other)[0].weight)


def test_unknown_names_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="xavier_uniform, orthogonal"):
        UNet(init="zeros")
    with pytest.raises(ValueError, match=r"'he'.*he_normal, lecun_uniform"):
        L2Net(init="he")
    with pytest.raises(ValueError, match=r"5.*\(4, 6, 8\)"):
        UNet(5)


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_level_halves_the_patch(depth: int) -> None:
    model, sides = UNet(depth, seed=0), []
    model.bottom.register_forward_hook(lambda _, __, out: sides.append(tuple(out.shape[1:])))
    model(patches(1))
    levels = depth // 2 - 1
    assert sides == [(16 * 2**levels, 32 // 2**levels, 32 // 2**levels)]


# ---- L2-Net with options


def descriptors_of(x: torch.Tensor, **options) -> torch.Tensor:
    return L2Net(seed=0, **options).eval()(x)


def test_standardized_patches_forget_gain_and_offset() -> None:
    x = patches()
    plain, changed = (descriptors_of(p, standardize=True) for p in (x, 0.4 * x + 70))
    assert (plain - changed).norm() < 0.01 * plain.norm()
    plain, changed = (descriptors_of(p) for p in (x, 0.4 * x + 70))
    assert (plain - changed).norm() > 0.1 * plain.norm()


@pytest.mark.parametrize("options", [{}, {"unit": True}, {"half": True, "final_norm": True}])
def test_a_flat_patch_gives_finite_descriptors_and_gradients(options: dict) -> None:
    x = torch.cat([torch.full((1, 1, 32, 32), 7.0), patches(2)]).requires_grad_()
    model = L2Net(seed=0, standardize=True, **options)
    out = model(x)
    out.square().sum().backward()
    assert out.isfinite().all() and x.grad.isfinite().all()
    assert all(weights.grad.isfinite().all() for weights in model.parameters())


def test_unit_descriptors_have_length_1_and_the_same_direction() -> None:
    plain, unit = (descriptors_of(patches(), unit=unit) for unit in (False, True))
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(unit, plain / plain.norm(dim=1, keepdim=True))
    with torch.autocast("cpu", torch.bfloat16):
        rough = descriptors_of(patches(), unit=True)
    torch.testing.assert_close(rough.norm(dim=1), torch.ones(3))  # in float32


def test_batch_norms_without_weights_of_their_own() -> None:
    model = L2Net(seed=0, affine=False)
    assert not any(layer.weight is not None or layer.bias is not None
                   for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
    assert trainable(L2Net(seed=0)) - trainable(model) == 2 * 2 * (32 + 64 + 128)
    torch.testing.assert_close(descriptors_of(patches(), affine=False), descriptors_of(patches()))


def test_the_final_norm_centres_and_scales_each_of_the_128_numbers() -> None:
    model = L2Net(seed=0, final_norm=True, dropout=0, norm_momentum=0.5)
    out = model(patches(16))
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(128), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.var(dim=0, unbiased=False), torch.ones(128), rtol=0.03, atol=0)
    assert trainable(model) == trainable(L2Net(seed=0))
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 7 and {norm.momentum for norm in norms} == {0.5}


def test_half_is_about_half_the_work_for_as_many_numbers() -> None:
    def operations(model: nn.Module) -> int:
        with FlopCounterMode(display=False) as counter:
            assert model(patches(2)).shape == (2, 128)
        return counter.get_total_flops()

    assert 0.4 < operations(L2Net(half=True).eval()) / operations(L2Net().eval()) < 0.7


def test_half_sees_every_pixel() -> None:
    x = patches(1).requires_grad_()
    descriptors_of(x, half=True).square().sum().backward()
    assert (x.grad != 0).all()


def test_dropout_is_as_strong_as_was_asked_for() -> None:
    assert not torch.equal((model := L2Net(seed=0))(patches()), model(patches()))
    model = L2Net(seed=0, dropout=0)
    assert torch.equal(model(patches()), model(patches()))
    assert next(m.p for m in L2Net(dropout=0.1).modules() if isinstance(m, nn.Dropout)) == 0.1


@pytest.mark.parametrize("options", [{"standardize": True}, {"unit": True}, {"affine": False},
                                     {"final_norm": True}, {"dropout": 0.1}])
def test_options_leave_the_initial_weights_alone(options: dict) -> None:
    for plain, other in zip(convolutions(L2Net(seed=4)), convolutions(L2Net(seed=4, **options)),
                            strict=True):
        assert torch.equal(plain.weight, other.weight)


def test_patches_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"patches are \(2, 1, 64, 64\), expected \(n, 1, 32, 32"):
        L2Net(seed=0)(torch.zeros(2, 1, 64, 64))
