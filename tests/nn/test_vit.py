"""Vision transformers: torchvision's at its own size, interpolated positions at others, refusals."""

import pytest
import torch
from torch import nn

from pipeline.base.errors import ParamsError
from pipeline.base.params import Params
from pipeline.base.torchvision_import import torchvision
from pipeline.nn.backbones import BACKBONES, fresh
from pipeline.nn.vit import ViTTiny
from tests.refusals import refusal_of

torchvision()  # here, so that no single test waits for its import


def tiny(channels=3, patch=8, size=32):
    torch.manual_seed(0)
    return ViTTiny(patch_size=patch, image_size=size).build(channels)[0].eval()


def test_it_is_torchvisions_at_its_own_size():
    net = tiny()
    nn.init.normal_(net.class_token)
    theirs = torchvision().models.VisionTransformer(32, 8, 12, 3, 192, 768, num_classes=5).eval()
    missing, unexpected = theirs.load_state_dict(net.state_dict(), strict=False)
    assert (missing, unexpected) == (["heads.head.weight", "heads.head.bias"], [])
    theirs.heads = nn.Identity()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(net(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_first_layers_for_other_channels_start_as_torchvisions_do():
    for channels in (1, 3, 5):
        weight = tiny(channels).conv_proj.weight
        assert weight.std().item() == pytest.approx((channels * 64) ** -0.5, rel=0.05)
        assert not tiny(channels).conv_proj.bias.any()


@torch.no_grad()
def test_positions_between_keep_their_rows_and_columns():
    net = tiny()
    assert net.positions(4, 4) is net.encoder.pos_embedding  # at the size that they are made for
    grid = torch.zeros(4, 4, 192)
    grid[:, :, 0] = torch.arange(4.0)[:, None]  # the row
    grid[:, :, 1] = torch.arange(4.0)  # the column
    grid[:, :, 2] = 7
    net.encoder.pos_embedding[0, 0] = -1
    net.encoder.pos_embedding[0, 1:] = grid.flatten(0, 1)
    for rows, columns in ((8, 3), (2, 6)):
        found = net.positions(rows, columns)[0]
        assert found.shape == (1 + rows * columns, 192)
        assert (found[0] == -1).all()
        found = found[1:].unflatten(0, (rows, columns))
        torch.testing.assert_close(found[:, :, 2], torch.full((rows, columns), 7.0))
        assert (found[1:, :, 0] > found[:-1, :, 0] + 0.1).all()
        assert (found[:, 1:, 1] > found[:, :-1, 1] + 0.1).all()
        torch.testing.assert_close(found[:, :, 0], found[:, :1, 0].expand(rows, columns))
        torch.testing.assert_close(found[:, :, 1], found[:1, :, 1].expand(rows, columns))


def test_images_of_another_size_and_gradients_for_their_positions():
    net = tiny()
    out = net(torch.randn(2, 3, 16, 40))
    assert out.shape == (2, 192)
    out.square().sum().backward()
    assert net.encoder.pos_embedding.grad.flatten(0, 1).any(dim=1).all()


@pytest.mark.parametrize("name", ["vit_tiny", "vit_small", "vit_base"])
def test_sizes_that_patches_do_not_divide_are_refused(name):
    where = f"pretrain.backbones.{name}"
    tree = {"pretrain": {"backbones": {name: {"patch_size": 16, "image_size": 30}}}}
    says = f"params.yaml: {where}.image_size: expected a multiple of patch_size (16), got 30"
    assert refusal_of(Params(tree, "params.yaml").block, where, BACKBONES[name], kind=ParamsError) == says
    says = f"{where}.patch_size: expected a divisor of the sides of all images and crops, got 16 for 32 x 28"
    with torch.device("meta"):
        net = BACKBONES[name](patch_size=16, image_size=32).build(1)[0]
        assert refusal_of(net, torch.zeros(2, 1, 32, 28), kind=ParamsError) == says


def test_a_patch_size_that_does_not_fit_is_refused_before_any_training():
    with pytest.raises(ParamsError, match=r"vit_tiny.patch_size: .*, got 3 for 8 x 8$"):
        fresh("vit_tiny", ViTTiny(patch_size=3, image_size=9), torch.zeros(2, 1, 8, 8, dtype=torch.uint8))


def test_tokens_of_kept_patches_come_in_their_order_and_the_others_are_not_seen():
    """Positions go with the patches: all of them in another order give the same tokens in that order."""
    net, images = tiny(), torch.randn(2, 3, 16, 24)
    whole = net.tokens(images)
    assert torch.equal(net(images), whole[:, 0])
    order = torch.tensor([[5, 0, 3, 1, 4, 2], [2, 1, 0, 5, 3, 4]])
    found = net.tokens(images, keep=order)
    expected = torch.stack([whole[i, [0, *(1 + order[i])]] for i in range(2)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    few, other = torch.tensor([[4, 0], [4, 0]]), images.clone()
    other[:, :, :8, 8:] = 7  # patches 1 and 2, above
    assert torch.equal(net.tokens(images, keep=few), net.tokens(other, keep=few))
    other[:, :, 8:, 8:16] = 7  # patch 4
    assert not torch.equal(net.tokens(images, keep=few), net.tokens(other, keep=few))


def test_a_token_in_place_of_masked_patches_hides_them():
    net, images, token = tiny(), torch.randn(2, 3, 16, 24), torch.zeros(192).requires_grad_()
    masked = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]]).bool()
    found, other = net.tokens(images, masked=masked, mask_token=token), images.clone()
    other[0, :, :8, 8:] = 7
    assert torch.equal(net.tokens(other, masked=masked, mask_token=token), found)
    torch.testing.assert_close(found[1], net.tokens(images)[1])
    (grad,) = torch.autograd.grad(found[0].square().sum(), token)
    assert grad.abs().sum() > 0
    assert not torch.allclose(found[0], net.tokens(images, masked=masked, mask_token=token + 1)[0])
