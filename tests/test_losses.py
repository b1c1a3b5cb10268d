"""Every term of eq. (2) against a closed form or an independent computation."""

import math

import pytest
import torch

from efgan.config import LossWeights, TrainConfig
from efgan.models.branch import BranchOutput, blend
from efgan.models.discriminator import Critic
from efgan.models.interpolator import AUCritic, Interpolator
from efgan.training import losses
from efgan.training.objectives import Objective, build_objective


def double_backward_penalty(
    critic: Critic, real: torch.Tensor, edited: torch.Tensor, mix: torch.Tensor
) -> torch.Tensor:
    """WGAN-GP as usually written: autograd through the critic, then through that gradient."""
    between = (mix * real + (1 - mix) * edited).requires_grad_()
    scores, _ = critic(between)
    (gradient,) = torch.autograd.grad(scores, between, torch.ones_like(scores), create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


@pytest.mark.parametrize(("size", "fine_layer"), [(64, None), (128, None), (64, 3), (96, 2)])
def test_first_order_penalty_equals_double_backward(size, fine_layer):
    """Value and every parameter gradient agree to 1e-5 in float64, with and without a second patch head."""
    torch.manual_seed(0)
    critic = Critic(size, 8, 64, 17, fine_layer).double()
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    real, edited = torch.rand(2, 3, 3, size, size, dtype=torch.double) * 2 - 1
    mix = torch.rand(3, 1, 1, 1, dtype=torch.double)
    ours = losses.compute_gradient_penalty(critic, real, edited, mix)
    expected = double_backward_penalty(critic, real, edited, mix)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=0)
    weights = [p for name, p in critic.named_parameters() if "bias" not in name and "label" not in name]
    for a, b in zip(torch.autograd.grad(ours, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * b.abs().max().item())


@pytest.mark.parametrize("fine_layer", [None, 3])
def test_penalty_in_bf16_has_the_gradient_of_fp32(fine_layer):
    """The mixed-precision critic learns in the same direction, in every layer."""
    torch.manual_seed(0)
    critic = Critic(64, 8, 64, 17, fine_layer)
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    images, mix = torch.rand(4, 3, 64, 64) * 2 - 1, torch.ones(4, 1, 1, 1)
    weights = [conv.weight for conv in critic.convs]
    gradients = []
    for critic.bf16 in (False, True):
        penalty = losses.compute_gradient_penalty(critic, images, images, mix)
        gradients.append(torch.autograd.grad(penalty, weights))
    for fp32, bf16 in zip(*gradients, strict=True):
        assert torch.cosine_similarity(fp32.flatten(), bf16.flatten(), dim=0) > 0.99


def test_penalty_is_zero_for_slope_one():
    """A critic whose input gradient has norm 1 everywhere pays nothing."""
    critic = Critic(64, 4, 8, 17)
    image = torch.rand(2, 3, 64, 64)
    norm = critic.input_gradient(image).flatten(1).norm(dim=1)
    with torch.no_grad():
        critic.patch_head.weight /= norm[0]
    assert losses.compute_gradient_penalty(critic, image[:1], image[:1], torch.zeros(1, 1, 1, 1)).item() < 1e-8


@pytest.mark.parametrize(("size", "fine_layer"), [(64, None), (96, None), (128, None), (64, 3)])
def test_label_sensitivity_equals_double_backward(size, fine_layer):
    """Value and every parameter gradient agree to 1e-5 in float64 with autograd through the label head."""
    torch.manual_seed(0)
    critic = Critic(size, 8, 64, 17, fine_layer).double()
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    real, direction = torch.rand(3, 3, size, size, dtype=torch.double) * 2 - 1, torch.randn(3, 17, dtype=torch.double)
    ours = losses.compute_label_sensitivity(critic, real, direction)
    seen = real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((critic(seen)[1] * direction).sum(), seen, create_graph=True)
    expected = (gradient**2).sum((1, 2, 3)).mean()
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=0)
    others = ("bias", "patch", "fine")
    weights = [p for name, p in critic.named_parameters() if not any(word in name for word in others)]
    for a, b in zip(torch.autograd.grad(ours, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * b.abs().max().item())


@pytest.mark.parametrize(("experiment", "weight"), [("local_focus", 160.0), ("stargan", 1.0)])
def test_label_sensitivity_is_weighed_as_the_label_error(experiment, weight):
    """λ × the weight of the method's own label error; nothing is computed for λ = 0."""
    torch.manual_seed(0)
    objective = build_objective(experiment, TrainConfig(loss=LossWeights(lambda_sens=0.25)), 8)
    critic = Critic(64, 4, 8, 17 if experiment == "local_focus" else 8)
    real, source = torch.rand(2, 3, 64, 64), torch.eye(critic.label_head.out_channels)[:2]
    direction = torch.randn(source.shape)
    terms = objective.label_terms(critic, real, critic(real)[1], source, direction, torch.tensor(0.5))
    expected = 0.25 * weight * losses.compute_label_sensitivity(critic, real, direction)
    torch.testing.assert_close(terms["sensitivity"], expected)
    without = build_objective(experiment, TrainConfig(), 8)
    assert list(without.label_terms(critic, real, critic(real)[1], source, direction, torch.tensor(0.5))) == ["cond"]


def test_label_sensitivity_falls_over_the_second_half():
    """λ until half of the run, then linear to its final value."""
    objective = Objective(weights=LossWeights(lambda_sens=0.125, lambda_sens_final=0.025))
    falling = objective.sensitivity_weight(torch.tensor([0.0, 0.5, 0.75, 1.0]))
    torch.testing.assert_close(falling, torch.tensor([0.125, 0.125, 0.075, 0.025]))


def test_wasserstein_terms():
    """The generator raises the score of edits, the critic the gap between real and edited."""
    real, edited = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0])
    assert losses.compute_adversarial_loss(edited).item() == -1.5
    assert losses.compute_critic_loss(real, edited).item() == -2.5


def test_conditional_and_content_losses():
    """Mean squared AU error and mean absolute image difference."""
    assert losses.compute_conditional_loss(torch.full((2, 17), 0.5), torch.zeros(2, 17)).item() == 0.25
    weighed = losses.compute_conditional_loss(torch.full((2, 17), 0.5), torch.zeros(2, 17), torch.tensor([1.0, 3.0]))
    assert weighed.item() == 0.5
    assert losses.compute_content_loss(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)).item() == 0.5


def test_small_requests_weigh_more():
    """1.25 m / (s + m/4), s the mean squared change: five times as much for none at all, once at s = m."""
    before = torch.rand(3, 17)
    after = before + torch.tensor([0.0, 0.2, 0.4])[:, None]
    torch.testing.assert_close(losses.weigh_requests(before, after, 0.04), torch.tensor([5.0, 1.0, 0.05 / 0.17]))


def test_attention_loss_sums_the_branches():
    """Mean attention per branch, whatever the size of its map."""
    maps = [torch.full((2, 1, 8, 8), 0.25), torch.full((2, 1, 4, 6), 0.5)]
    assert losses.compute_attention_loss(maps).item() == 0.75


def test_chroma_loss_ignores_light_and_counts_hue():
    """Grey changes cost nothing; one more of red costs (1² + 0.5²) / 2, and of blue 1² / 2."""
    face = torch.rand(2, 3, 8, 8)
    change = {"grey": (0.3, 0.3, 0.3), "red": (1.0, 0.0, 0.0), "blue": (0.0, 0.0, 1.0)}
    costs = {name: losses.compute_chroma_loss(face + torch.tensor(rgb)[:, None, None], face).item()
             for name, rgb in change.items()}  # fmt: skip
    assert costs == pytest.approx({"grey": 0.0, "red": 0.625, "blue": 0.5}, abs=1e-6)


def test_opacity_loss_counts_colours_that_do_not_show():
    """By eq. (1) a ((1 − a) d)², d the colour's distance from the input; nothing where a branch is shut or opaque."""
    face, colour = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.5)
    branches = [BranchOutput(blend(face, colour, a), colour, a) for a in
                (torch.full((2, 1, 8, 8), value) for value in (0.0, 0.25, 0.5, 1.0))]  # fmt: skip
    costs = [losses.compute_opacity_loss([branch]).item() for branch in branches]
    assert costs == pytest.approx([0.0, 0.25 * (0.75 * 0.5) ** 2, 0.5 * (0.5 * 0.5) ** 2, 0.0])
    assert losses.compute_opacity_loss(branches).item() == pytest.approx(sum(costs))


def test_for_a_given_change_opacity_is_cheaper():
    """(1 − a)² / a times the squared change: half open costs 0.5 of it, four fifths open a tenth of that."""
    face, change = torch.zeros(1, 3, 4, 4), 0.2
    costs = []
    for value in (0.5, 0.8):
        attention = torch.full((1, 1, 4, 4), value)
        colour = face + change / value
        costs.append(losses.compute_opacity_loss([BranchOutput(blend(face, colour, attention), colour, attention)]))
    assert [cost.item() / change**2 for cost in costs] == pytest.approx([0.5, 0.05])


def test_attention_floor_counts_what_each_branch_lacks():
    """a ln(a/ā) below a = 0.02, which is nearly a − ā close to it; nothing above."""
    for mean, lack in ((0.01, 0.02 * math.log(2)), (0.019, 0.001), (0.02, 0.0), (0.5, 0.0)):
        maps = [torch.full((2, 1, 8, 8), mean), torch.full((2, 1, 4, 6), 0.5)]
        assert losses.compute_attention_floor(maps).item() == pytest.approx(lack, rel=0.05, abs=1e-7)


def test_attention_floor_opens_a_closed_branch_as_fast_as_a_half_open_one():
    """The pull on the sigmoid's input is a, however small the sigmoid is, in the precision of training."""
    for logit in (-4.0, -8.0, -12.0, -46.0, -60.0):
        x = torch.full((2, 1, 8, 8), logit, requires_grad=True)
        losses.compute_attention_floor([x.sigmoid()]).backward()
        assert x.grad.sum().item() == pytest.approx(-losses.LEAST_ATTENTION, rel=0.05)


def test_attention_floor_of_a_branch_at_zero_is_finite():
    """Even where its weight is 0, no number may become NaN."""
    x = torch.full((2, 1, 8, 8), -200.0, requires_grad=True)
    (0.0 * losses.compute_attention_floor([x.sigmoid()])).backward()
    assert x.grad.eq(0).all()


def test_total_variation_counts_edges():
    """A step of height 1 down a 4-pixel column counts 4 per image."""
    step = torch.zeros(2, 1, 4, 6)
    step[..., 3:] = 1
    assert losses.compute_total_variation([step]).item() == 4


def test_interpolation_loss_of_a_linear_interpolator():
    """Without a correction only the critic's term is left."""
    torch.manual_seed(0)
    critic, source, target, alpha = AUCritic(), torch.rand(4, 17), torch.rand(4, 17), torch.rand(4, 1)
    loss = losses.compute_interpolation_loss(Interpolator(), critic, source, target, alpha, 10.0)
    torch.testing.assert_close(loss, -critic(torch.lerp(source, target, alpha)).mean())


def test_au_critic_loss_does_not_reach_the_interpolator():
    """Interpolated AUs are constants for their critic."""
    interpolated = torch.rand(4, 17, requires_grad=True)
    losses.compute_au_critic_loss(AUCritic(), torch.rand(4, 17), interpolated, torch.rand(4, 1), 10.0).backward()
    assert interpolated.grad is None


def test_semantic_term_is_the_squared_distance_to_linear():
    """An Interpolator that adds 0.1 to every AU pays λ_sem · 17 · 0.01 beside the critic's term."""
    critic, source, target, alpha = AUCritic(), torch.rand(4, 17), torch.rand(4, 17), torch.rand(4, 1)
    too_much = lambda aus, change: aus + change + 0.1  # noqa: E731
    loss = losses.compute_interpolation_loss(too_much, critic, source, target, alpha, 10.0)
    torch.testing.assert_close(loss, 1.7 - critic(torch.lerp(source, target, alpha) + 0.1).mean())


def test_au_critic_loss_in_closed_form():
    """E[D(ŷ)] − E[D(real)] + λ (‖∇D‖ − 1)² of a linear critic, whose gradient is its weight everywhere."""
    weight, real, interpolated = torch.full((17,), 2 / 17**0.5), torch.rand(4, 17), torch.rand(4, 17)
    loss = losses.compute_au_critic_loss(lambda aus: aus @ weight, real, interpolated, torch.rand(4, 1), 10.0)
    torch.testing.assert_close(loss, ((interpolated - real) @ weight).mean() + 10.0 * (2 - 1) ** 2)
