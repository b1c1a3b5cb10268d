"""The terms of eq. (2) and some of our own, one pure function each.

The paper names its terms; all formulas are our decision (spec 1.8).
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from efgan.models.branch import BranchOutput
from efgan.models.discriminator import Critic
from efgan.models.interpolator import AUCritic, Interpolator

LEAST_ATTENTION = 0.02  # of a branch, averaged over a batch; our decision


def compute_adversarial_loss(scores_edited: Tensor) -> Tensor:
    """L_adv of the generator: −E[D(edited)] (Wasserstein GAN)."""
    return -scores_edited.mean()


def compute_critic_loss(scores_real: Tensor, scores_edited: Tensor) -> Tensor:
    """E[D(edited)] − E[D(real)], which the critic minimises (Wasserstein GAN)."""
    return scores_edited.mean() - scores_real.mean()


def compute_gradient_penalty(critic: Critic, real: Tensor, edited: Tensor, mix: Tensor) -> Tensor:
    """E[(‖∇D(x̂)‖₂ − 1)²] at x̂ = mix·real + (1 − mix)·edited.

    Args:
        critic: its `input_gradient` gives ∇D without a second backward pass.
        real, edited: B×3×S×S.
        mix: B×1×1×1 in [0, 1].

    Source: WGAN-GP (Gulrajani et al. 2017), eq. (3).
    """
    gradient = critic.input_gradient(torch.lerp(edited, real, mix))
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def compute_label_sensitivity(critic: Critic, real: Tensor, direction: Tensor) -> Tensor:
    """E‖∇ₓ(v·D_aus(x))‖²: how far small changes of a face's pixels move the critic's labels.

    For v ~ N(0, I) its expectation is the sum of the squared gradient norms of all labels. A critic that pays for it
    must see a whole mouth to call it open, so that edits must draw one: without it, specks of colour please the label
    head.

    Args:
        critic: its `input_gradient` gives ∇ without a second backward pass.
        real: B×3×S×S.
        direction: v, B×outputs.

    Source: our decision; input gradient regularisation (Ross and Doshi-Velez 2018).
    """
    return critic.input_gradient(real, direction).square().flatten(1).sum(1).mean()


def compute_conditional_loss(predicted_aus: Tensor, aus: Tensor, weights: Tensor | None = None) -> Tensor:
    """L_cond: mean squared AU error of B×17 (GANimation); if there are `weights`, B, each face's times its own."""
    if weights is None:
        return F.mse_loss(predicted_aus, aus)
    return (weights * (predicted_aus - aus).square().mean(1)).mean()


def weigh_requests(before: Tensor, after: Tensor, unit: float) -> Tensor:
    """Weights B of the label errors of edits that are asked to go from AUs to AUs, B×17 each: 1.25 m / (s + m/4).

    s is the mean squared change that is asked for; at s = m = `unit` the weight is 1, for the smallest changes 5.
    A stage of a cascade is asked for a third of the way, a ninth of the squared error, at the whole price of an edit,
    so its first stage hardly moves, and with the weights a little more.

    Source: our decision.
    """
    asked = (after - before).square().mean(1)
    return 1.25 * unit / (asked + unit / 4)


def compute_content_loss(reconstructed: Tensor, source: Tensor) -> Tensor:
    """L_cont: mean absolute difference after the cycle back to the source's AUs (GANimation, StarGAN)."""
    return F.l1_loss(reconstructed, source)


def compute_chroma_loss(edited: Tensor, source: Tensor) -> Tensor:
    """Mean squared change of the colour differences R − G and B − (R + G) / 2.

    An expression changes shapes, light and shade, and hardly the hue of skin. Where attention is sparse, a change of
    brightness is cheapest by saturated colours, which a young critic lets pass: teal teeth, yellow lids.

    Args:
        edited, source: B×3×S×S in [-1, 1].

    Source: our decision; the paper's content loss is in a lost supplement.
    """
    red, green, blue = (edited - source).unbind(1)
    return torch.stack([red - green, blue - (red + green) / 2]).square().mean()


def compute_attention_loss(attentions: Iterable[Tensor]) -> Tensor:
    """L_attn: mean attention, summed over the branches; sparse where 1 means edit (paper 3.3).

    Args:
        attentions: maps B×1×H×W in [0, 1].
    """
    return torch.stack([attention.mean() for attention in attentions]).sum()


def compute_opacity_loss(branches: Iterable[BranchOutput]) -> Tensor:
    """Mean of a (M_C − I_init)², summed over the branches: where attention a takes a colour, that colour shall show.

    By eq. (1) M_C − I_init is (1 − a) times the colour's distance from the input. Sparse attention stays half open
    where it paints most, beside colours overdriven to ±1 that make up for it; the rest of the input is the ghost of an
    erased mouth. For a given change this costs (1 − a)² / a: much where it is large, nothing where nothing changes.

    Source: our decision.
    """
    return torch.stack([(b.attention * (b.colour - b.image).square()).mean() for b in branches]).sum()


def compute_attention_floor(attentions: Iterable[Tensor]) -> Tensor:
    """Σ a·ln(a/ā) over the branches whose mean attention ā is below a = `LEAST_ATTENTION`; a − ā for a small lack.

    Where attention is zero, neither it nor the colour below learns any more. It comes to that in the first stage of a
    cascade, whose small steps leave little error to mend. The logarithm's pull on a sigmoid's input does not fade as
    the sigmoid closes; that of a − ā does.

    Args:
        attentions: maps B×1×H×W in [0, 1].

    Source: our decision.
    """
    means = torch.stack([attention.mean() for attention in attentions]).clamp(1e-30, LEAST_ATTENTION)
    return (LEAST_ATTENTION * (math.log(LEAST_ATTENTION) - means.log())).sum()  # a quotient's gradient would overflow


def compute_total_variation(attentions: Iterable[Tensor]) -> Tensor:
    """Sum of absolute differences of neighbours, averaged over images, summed over branches (GANimation)."""
    totals = [
        (a.diff(dim=2).abs().sum() + a.diff(dim=3).abs().sum()) / len(a) for a in attentions
    ]  # fmt: skip
    return torch.stack(totals).sum()


def compute_interpolation_loss(
    interpolator: Interpolator, au_critic: AUCritic, source_aus: Tensor, target_aus: Tensor, alpha: Tensor,
    lambda_sem: float,
) -> Tensor:  # fmt: skip
    """L_interp: −E[D_I(ŷ)] + λ_sem ‖ŷ − p‖², with p the linear pseudo target and ŷ the Interpolator's AUs.

    Args:
        interpolator, au_critic: the two networks.
        source_aus, target_aus: B×17.
        alpha: B×1 in [0, 1].
        lambda_sem: weight of the semantic term.

    Source: paper 3.2 and 3.3, term 5 (natural manifold, desired semantics); the formula is our decision.
    """
    residual = alpha * (target_aus - source_aus)
    interpolated = interpolator(source_aus, residual)
    semantic = (interpolated - (source_aus + residual)).square().sum(1).mean()
    return -au_critic(interpolated).mean() + lambda_sem * semantic


def compute_au_critic_loss(
    au_critic: AUCritic, real: Tensor, interpolated: Tensor, mix: Tensor, lambda_gp: float
) -> Tensor:
    """The AU critic's Wasserstein loss with gradient penalty.

    Args:
        au_critic: D_I.
        real, interpolated: B×17; gradients do not reach the Interpolator.
        mix: B×1 in [0, 1].
        lambda_gp: weight of the penalty.

    Source: paper 3.2 (a critic maximises the Wasserstein distance); WGAN-GP is our decision.
    """
    interpolated = interpolated.detach()
    between = torch.lerp(interpolated, real, mix).requires_grad_()
    (gradient,) = torch.autograd.grad(au_critic(between).sum(), between, create_graph=True)
    penalty = (gradient.norm(dim=1) - 1).square().mean()
    return au_critic(interpolated).mean() - au_critic(real).mean() + lambda_gp * penalty
