"""The architectures: layers, sizes, conditioning and the equations they implement."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import BOXES

from efgan.config import ModelConfig
from efgan.models import build_generator
from efgan.models.branch import Branch, blend
from efgan.models.discriminator import Critic
from efgan.models.interpolator import Interpolator
from efgan.models.layers import Backbone, ConditionedConv, InstanceNorm, SmoothUpsample
from efgan.models.refiner import Refiner

METHODS = ("stargan", "ganimation", "baseline", "local_focus", "cascade", "cascade_ef_gan")


def build(experiment: str, config: ModelConfig):
    torch.manual_seed(0)
    return build_generator(experiment, config, image_size=64, num_classes=8, boxes=BOXES)


def parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


def layer_list(module) -> list[tuple]:
    """(kind, in, out, kernel, stride) of every convolution, in order."""
    found = []
    for part in module.modules():
        if isinstance(part, ConditionedConv):
            found.append(("conv", part.weight.shape[1], part.weight.shape[0], 7, 1))
        elif isinstance(part, torch.nn.Conv2d):
            found.append(("conv", part.in_channels, part.out_channels, part.kernel_size[0], part.stride[0]))
        elif isinstance(part, torch.nn.ConvTranspose2d):
            found.append(("up", part.in_channels, part.out_channels, part.kernel_size[0], part.stride[0]))
    return found


def published_layers(condition: int, heads: int) -> list[tuple]:
    """GANimation's and StarGAN's generator at width 64."""
    return [("conv", 3 + condition, 64, 7, 1), ("conv", 64, 128, 4, 2), ("conv", 128, 256, 4, 2),
            *[("conv", 256, 256, 3, 1)] * 12,
            ("up", 256, 128, 4, 2), ("up", 128, 64, 4, 2), ("conv", 64, heads, 7, 1)]  # fmt: skip


def test_ganimation_has_the_published_layers():
    """Colour (3) and attention (1) come from one convolution; 17 AUs join the image at the input."""
    generator = build("ganimation", ModelConfig())
    assert layer_list(generator) == published_layers(17, 4)
    assert parameters(generator) == 8_471_296


def test_stargan_has_the_published_layers():
    """One tanh head, 8 classes at the input, no attention."""
    generator = build("stargan", ModelConfig())
    assert layer_list(generator) == published_layers(8, 3)
    assert parameters(generator) == 8_439_936


def test_critic_has_the_published_layers():
    """Six strided convolutions with bias to 2×2, a patch head and an AU head without."""
    critic = Critic(128, 64, 2048, 17)
    assert [c.out_channels for c in critic.convs] == [64, 128, 256, 512, 1024, 2048]
    assert all(c.bias is not None for c in critic.convs) and critic.patch_head.bias is None
    assert parameters(critic) == 44_860_352
    scores, aus = critic(torch.zeros(1, 3, 128, 128))
    assert scores.shape == (1, 1, 2, 2) and aus.shape == (1, 17)


def test_critic_starts_as_published():
    """GANimation's code: weights from N(0, 0.02), biases zero."""
    torch.manual_seed(0)
    for name, parameter in Critic(128, 8, 64, 17, 4).named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1)


def test_fine_patches_count_as_much_as_the_whole_face():
    """With a second patch head the mean score is the mean of both heads' means; the labels are as without."""
    torch.manual_seed(0)
    plain, fine = Critic(64, 4, 16, 17), Critic(64, 4, 16, 17, fine_layer=3)
    fine.load_state_dict(plain.state_dict(), strict=False)
    images = torch.rand(2, 3, 64, 64)
    hidden = images
    for conv in fine.convs[:3]:
        hidden = F.leaky_relu(conv(hidden), 0.01)
    patches = fine.fine_head(hidden)
    assert patches.shape == (2, 1, 8, 8)
    expected = (plain(images)[0].mean((1, 2, 3)) + patches.mean((1, 2, 3))) / 2
    torch.testing.assert_close(fine(images)[0].mean((1, 2, 3)), expected)
    torch.testing.assert_close(fine(images)[1], plain(images)[1])


def test_fine_patches_see_38_pixels():
    """The receptive field of a score after three convolutions and the head; only layers before the last can have it."""
    critic = Critic(64, 4, 16, 17, fine_layer=3)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    hidden = image
    for conv in critic.convs[:3]:
        hidden = F.leaky_relu(conv(hidden), 0.01)
    (gradient,) = torch.autograd.grad(critic.fine_head(hidden)[0, 0, 4, 4], image)
    rows, columns = (gradient.abs().sum((0, 1, axis)).nonzero().flatten() for axis in (3, 2))
    assert len(rows) == len(columns) == 38
    with pytest.raises(ValueError, match="1 to 4"):
        Critic(64, 4, 16, 17, fine_layer=5)


def test_full_size_parameter_counts():
    """EF-GAN is four branches and a Refiner; the cascade three of them and the Interpolator."""
    single = parameters(build("local_focus", ModelConfig()))
    assert single == 42_309_440
    assert parameters(build("cascade_ef_gan", ModelConfig())) == 3 * single + parameters(Interpolator())


@pytest.mark.parametrize("size", [32, 64, 96, 128, 160])
def test_critic_takes_every_multiple_of_32(size):
    """Image sizes that are no power of two keep one label vector per image."""
    assert Critic(size, 4, 16, 17)(torch.zeros(2, 3, size, size))[1].shape == (2, 17)


def test_conditioned_conv_equals_concatenation():
    """The border-ring form gives the numbers of concatenating replicated maps."""
    conv = ConditionedConv(3, 17, 8)
    torch.nn.init.normal_(conv.weight, 0, 0.02)
    x, aus = torch.randn(2, 3, 20, 28), torch.rand(2, 17)
    maps = aus[:, :, None, None].expand(-1, -1, 20, 28)
    torch.testing.assert_close(conv(x, aus), F.conv2d(torch.cat([x, maps], 1), conv.weight, padding=3))


def test_conditioned_conv_refuses_another_length():
    """A condition of the wrong length is named, not broadcast."""
    with pytest.raises(ValueError, match="B×17"):
        ConditionedConv(3, 17, 8)(torch.zeros(1, 3, 8, 8), torch.zeros(1, 8))


def test_instance_norm_equals_pytorch():
    """Group normalisation with one channel per group is instance normalisation."""
    x = torch.randn(3, 6, 9, 7)
    torch.testing.assert_close(InstanceNorm(6)(x), F.instance_norm(x))


def test_blend_is_equation_1():
    """Attention 1 takes the colour, 0 keeps the input: the reverse of GANimation's code."""
    image, colour = torch.full((1, 3, 2, 2), -0.5), torch.full((1, 3, 2, 2), 0.5)
    assert torch.equal(blend(image, colour, torch.ones(1, 1, 2, 2)), colour)
    assert torch.equal(blend(image, colour, torch.zeros(1, 1, 2, 2)), image)


def test_branch_starts_half_open():
    """A fresh attention head is near 0.5, so training can go either way."""
    output = Branch(17, 8, 1)(torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 17))
    assert 0.3 < output.attention.mean() < 0.7
    assert output.colour.abs().max() <= 1


@pytest.mark.parametrize("experiment", METHODS)
def test_every_generator_edits(experiment, tiny_model):
    """One signature: images, source and target condition in, an Edit of the same size out."""
    generator = build(experiment, tiny_model)
    condition = torch.rand(2, 8 if experiment == "stargan" else 17)
    edit = generator(torch.rand(2, 3, 64, 64) * 2 - 1, condition, condition)
    assert edit.image.shape == (2, 3, 64, 64) and edit.image.abs().max() <= 1
    single = {"stargan": [], "local_focus": ["global", "eyes", "nose", "mouth"]}.get(experiment, ["global"])
    staged = {"cascade": ["global"], "cascade_ef_gan": ["global", "eyes", "nose", "mouth"]}.get(experiment)
    names = [f"stage_{k}.{name}" for k in (1, 2) for name in staged] if staged else single
    assert list(edit.attentions) == names


@pytest.mark.parametrize("experiment", METHODS)
def test_the_target_condition_matters(experiment, tiny_model):
    """Another target changes the picture: the condition reaches the output."""
    generator = build(experiment, tiny_model)
    for part in generator.modules():
        if isinstance(part, Refiner):
            torch.nn.init.normal_(part.backbone.head.weight)
    images, zeros = torch.rand(1, 3, 64, 64), torch.zeros(1, 8 if experiment == "stargan" else 17)
    changed = generator(images, zeros, zeros + 1).image - generator(images, zeros, zeros).image
    assert changed.abs().max() > 0


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("experiment", ["ganimation", "baseline", "local_focus"])
def test_a_single_stage_is_given_the_target_or_the_change(experiment, relative, tiny_model):
    """The target decides without `relative_aus`, the difference of target and source with it."""
    generator = build(experiment, replace(tiny_model, relative_aus=relative))
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    low, high, change = torch.full((1, 17), 0.1), torch.full((1, 17), 0.4), torch.full((1, 17), 0.3)
    with torch.no_grad():
        first, same_change, same_target = (
            generator(images, source, target).image
            for source, target in [(low, low + change), (high, high + change), (high, low + change)]
        )
    equal, other = (same_change, same_target) if relative else (same_target, same_change)
    torch.testing.assert_close(first, equal)
    assert not torch.allclose(first, other, atol=1e-5)


@pytest.mark.parametrize(
    ("local", "whole", "share"), [(0.0, 0.0, 0.5), (0.3, 0.3, 0.5), (0.6, 0.2, 0.75), (0.5, 0.0, 1.0)]
)
def test_refiner_starts_as_the_mean_that_attention_weights(local, whole, share, tiny_model):
    """With its last layer at zero the Refiner passes both inputs on; what one branch alone edits counts whole."""
    images, stitched, global_image = torch.rand(3, 1, 3, 64, 64) * 2 - 1
    attentions = (torch.full((1, 1, 64, 64), a) for a in (local, whole))
    refined, start = Refiner(tiny_model)(images, stitched, global_image, *attentions)
    torch.testing.assert_close(refined, share * stitched + (1 - share) * global_image, rtol=0, atol=1e-3)
    torch.testing.assert_close(refined, start)


@pytest.mark.parametrize(("local", "whole"), [(0.0, 0.0), (0.0, 0.7), (0.7, 0.0), (0.5, 0.5), (1.0, 0.5)])
def test_refiner_may_start_with_the_local_edits_over_the_global_one(local, whole, tiny_model):
    """Eq. (1) twice: the local colour over the global colour over the input."""
    images, local_colour, global_colour = torch.rand(3, 1, 3, 64, 64) * 2 - 1
    below, above = (torch.full((1, 1, 64, 64), a) for a in (whole, local))
    global_image = blend(images, global_colour, below)
    refiner = Refiner(replace(tiny_model, refiner_start="layers"))
    refined, _ = refiner(images, blend(images, local_colour, above), global_image, above, below)
    torch.testing.assert_close(refined, blend(global_image, local_colour, above))


@pytest.mark.parametrize("start", ["mean", "layers"])
def test_refiner_corrects_by_the_root_of_the_attention(start, tiny_model):
    """Nothing where it is 0, half of the correction where it is 0.25; the correction gives attention no gradient."""
    refiner = Refiner(replace(tiny_model, refiner_start=start))
    torch.nn.init.normal_(refiner.backbone.head.weight, std=0.005)  # too little to be clamped
    faces = (torch.rand(3, 1, 3, 64, 64) - 0.5) / 2
    none, quarter, full = (torch.full((1, 1, 64, 64), value, requires_grad=True) for value in (0.0, 0.25, 1.0))

    def correction(attention):
        refined, before = refiner(*faces, attention, attention)
        return refined - before

    whole = correction(full)
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(correction(none), torch.zeros_like(whole))
    torch.testing.assert_close(correction(quarter), whole / 2)
    whole.sum().backward()
    assert full.grad is None if start == "mean" else not full.grad.any()  # layers alone depend on it, and cancel here


@pytest.mark.parametrize("attending", ["global", "mouth"])
def test_ef_gan_corrects_where_any_branch_attends(attending, tiny_model):
    """The whole face if the global branch does, its box alone if only a local one does; both start from its image."""
    generator = build("local_focus", tiny_model)
    torch.nn.init.normal_(generator.refiner.backbone.head.weight)
    branches = {"global": generator.transformer.global_branch, **generator.transformer.local_branches}
    for name, branch in branches.items():
        attention = torch.tensor(0.0 if name == attending else -torch.inf)  # before the sigmoid: a half or none
        branch.backbone.register_forward_hook(
            lambda _, __, features, attention=attention: features.index_fill(1, torch.tensor([3]), attention)
        )
    images = torch.rand(1, 3, 64, 64) - 0.5
    with torch.no_grad():
        edit = generator(images, torch.zeros(1, 17), torch.ones(1, 17))
    start = edit.global_edit.image if attending == "global" else edit.stitched
    corrected = (edit.image - start).abs().amax(1)[0] > 1e-3
    box = torch.zeros(64, 64, dtype=torch.bool)
    box[BOXES["mouth"].slices] = True
    assert corrected[box].float().mean() > 0.9
    assert corrected[~box].float().mean() > 0.9 if attending == "global" else not corrected[~box].any()


def test_upsampling_leaves_no_grid():
    """Away from the border a constant stays constant whatever the weights; by a transposed convolution it does not."""
    upsample, constant = SmoothUpsample(3, 2), torch.full((1, 3, 8, 8), 0.5)
    with torch.no_grad():
        rough, smooth = upsample.conv(constant), upsample(constant)
    assert smooth.shape == (1, 2, 16, 16)
    assert rough[..., 4:-4, 4:-4].std(dim=(2, 3)).min() > 1e-3
    torch.testing.assert_close(smooth[..., 4:-4, 4:-4].std(dim=(2, 3)), torch.zeros(1, 2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("experiment", METHODS)
def test_every_method_upsamples_without_a_grid(experiment, tiny_model):
    """No transposed convolution without its filter."""
    parts = list(build(experiment, tiny_model).modules())
    filtered = [part.conv for part in parts if isinstance(part, SmoothUpsample)]
    assert filtered == [part for part in parts if isinstance(part, torch.nn.ConvTranspose2d)] != []


def test_upsampling_filters_by_the_binomial_kernel():
    """[1 2 1] in both directions is a mean of neighbours twice over, and keeps means at the border."""
    upsample, x = SmoothUpsample(3, 2), torch.randn(2, 3, 8, 8)
    rough = F.pad(upsample.conv(x), (1, 1, 1, 1), mode="replicate")
    torch.testing.assert_close(upsample(x), F.avg_pool2d(F.avg_pool2d(rough, 2, 1), 2, 1))


def test_cascade_chains_its_stages(tiny_model):
    """Stage k edits the image of stage k − 1 towards the k-th AUs; the last are the target."""
    cascade = build("cascade_ef_gan", tiny_model)
    images, source, target = torch.rand(2, 3, 64, 64), torch.rand(2, 17), torch.rand(2, 17)
    edit = cascade(images, source, target)
    assert len(edit.stages) == 2 and edit.stage_aus.shape == (2, 2, 17)
    assert torch.equal(edit.stage_aus[:, -1], target)
    torch.testing.assert_close(edit.stage_aus[:, 0], (source + target) / 2)  # a fresh Interpolator is linear
    second = cascade.stages[1](edit.stages[0].image, edit.stage_aus[:, 0], target)
    assert torch.equal(second.image, edit.image)


def test_the_last_image_teaches_every_stage(tiny_model):
    """Stages are fine-tuned end to end (paper 3.3): gradient of the final image reaches all of them."""
    cascade = build("cascade_ef_gan", tiny_model)
    cascade(torch.rand(1, 3, 64, 64), torch.rand(1, 17), torch.rand(1, 17)).image.square().sum().backward()
    for stage in cascade.stages:
        assert stage.transformer.global_branch.backbone.head.weight.grad.abs().sum() > 0


def test_cascade_stages_do_not_share_weights(tiny_model):
    """Stages are untied, the Interpolator is one."""
    cascade = build("cascade", tiny_model)
    pairs = zip(cascade.stages[0].parameters(), cascade.stages[1].parameters(), strict=True)
    assert all(a.data_ptr() != b.data_ptr() for a, b in pairs)


def test_interpolator_hits_both_ends():
    """0 gives the source, 1 the target, exactly; between them intensities stay in [0, 1]."""
    interpolator = Interpolator()
    for parameter in interpolator.parameters():
        torch.nn.init.normal_(parameter)
    source, target = torch.rand(2, 4, 17)
    assert torch.equal(interpolator.between(source, target, 0.0), source)
    assert torch.equal(interpolator.between(source, target, 1.0), target)
    middle = interpolator.between(source, target, 0.5)
    assert middle.min() >= 0 and middle.max() <= 1


def test_backbone_needs_no_condition():
    """The Refiner's backbone has no AU input."""
    assert Backbone(6, 0, 3, 4, 1)(torch.zeros(1, 6, 32, 32)).shape == (1, 3, 32, 32)
