"""Which terms each method sums. One signature, so one loop trains every method."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efgan.config import LossWeights, TrainConfig
from efgan.data.batches import Batch
from efgan.experiments import EXPERIMENTS
from efgan.models.branch import Edit
from efgan.models.cascade import CascadeEFGAN
from efgan.models.discriminator import Critic
from efgan.training import losses

Terms = dict[str, Tensor]  # weighted terms by name; their sum is the loss


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The losses of one method, for single stages and cascades alike.

    Attributes:
        weights: λ's.
        num_classes: length of StarGAN's one-hot condition; None for the methods with AUs.
        keep_source: GANimation's own mask penalty, which rewards editing: its mask is 1 − attention.
    """

    weights: LossWeights
    num_classes: int | None = None
    keep_source: bool = False

    def conditions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Source and target condition of a batch: AUs, or one-hot classes for StarGAN."""
        if self.num_classes is None:
            return batch.source_aus, batch.target_aus
        source, target = (
            F.one_hot(e, self.num_classes).float() for e in (batch.source_expression, batch.target_expression)
        )
        return source, target

    def label_loss(self, predicted: Tensor, condition: Tensor, weight: float) -> Tensor:
        """λ1 × the critic's label error: squared AU error, or StarGAN's cross-entropy (weight 1 as published)."""
        if self.num_classes is None:
            return weight * losses.compute_conditional_loss(predicted, condition)
        return F.cross_entropy(predicted, condition)

    def sensitivity_weight(self, progress: Tensor) -> Tensor:
        """Weight of the label sensitivity after a fraction of the run: constant, then linear over the second half.

        Args: progress in [0, 1], of any shape. Returns weights of that shape.

        Source: our decision. It makes the critic see shapes while the generator is young, and draws its labels to
        their mean: towards the end it may read AUs more fully.
        """
        start, final = self.weights.lambda_sens, self.weights.lambda_sens_final
        return start + (final - start) * (2 * progress - 1).clamp(min=0)

    def label_terms(
        self, critic: Critic, real: Tensor, labels: Tensor, source: Tensor, direction: Tensor, progress: Tensor
    ) -> Terms:
        """What the critic's label head learns on real faces.

        Args:
            critic: for its input gradient.
            real: B×3×S×S, labels: the critic's B×K for them, source: their condition B×K.
            direction: B×K, of the label sensitivity; see `compute_label_sensitivity`.
            progress: fraction of the run that is over, a scalar.
        """
        weight = self.weights.lambda_cond_critic
        terms = {"cond": self.label_loss(labels, source, weight)}
        if self.weights.lambda_sens or self.weights.lambda_sens_final:
            own = weight if self.num_classes is None else 1.0  # the label error's own weight, so for StarGAN too
            sensitivity = losses.compute_label_sensitivity(critic, real, direction)
            terms["sensitivity"] = self.sensitivity_weight(progress) * own * sensitivity
        return terms

    def critic_terms(
        self, critic: Critic, real: Tensor, source: Tensor, edit: Edit, mix: Tensor, direction: Tensor,
        progress: Tensor,
    ) -> Terms:  # fmt: skip
        """The critic's loss on real faces and the (detached) images of all stages.

        Args:
            critic: one critic serves all stages (our decision).
            real: B×3×S×S; source: their condition B×K.
            edit: the generator's output.
            mix: NB×1×1×1 in [0, 1], the places of the gradient penalty.
            direction: B×K, of the label sensitivity.
            progress: fraction of the run that is over, a scalar.
        """
        edited = torch.cat([e.image for e in edit.stages or (edit,)]).detach()
        scores, labels = critic(torch.cat([real, edited]))
        n = len(real)
        penalty = losses.compute_gradient_penalty(critic, real.repeat(len(edited) // n, 1, 1, 1), edited, mix)
        return {
            "wasserstein": losses.compute_critic_loss(scores[:n], scores[n:]),
            "gradient_penalty": self.weights.lambda_gp * penalty,
            **self.label_terms(critic, real, labels[:n], source, direction, progress),
        }

    def generator_terms(
        self, generator: nn.Module, critic: Critic, images: Tensor, source: Tensor, target: Tensor, edit: Edit,
        attention_weight: Tensor,
    ) -> Terms:  # fmt: skip
        """Eq. (2) without the Interpolator's term, summed with equal weights over the stages.

        What a later stage's cycle and hue are compared with, its input, gets no gradient from there (our decision).

        Args:
            generator: the single generator, or the cascade whose stages run their own cycle.
            critic: frozen.
            images, source, target: the batch, B×3×S×S and B×K.
            edit: the edit of this batch, with its graph.
            attention_weight: warm-up factor of λ3, a scalar in [0, 1].
        """
        terms: Terms = {}
        misread = self._misread(critic, images, source)
        stages = list(generator.stages) if isinstance(generator, CascadeEFGAN) else [generator]
        conditions = [target] if edit.stage_aus is None else edit.stage_aus.unbind(1)
        before, before_condition = images, source
        for stage, condition, stage_edit in zip(stages, conditions, edit.stages or (edit,), strict=True):
            cycle = stage(stage_edit.image, condition, before_condition)
            scores, labels = critic(stage_edit.image)
            stage_terms = {
                "adv": losses.compute_adversarial_loss(scores),
                "cond": self._request_loss(labels - misread, before_condition, condition),
                "cont": self.weights.lambda_cont * losses.compute_content_loss(cycle.image, before.detach()),
                **self._attention_terms(before.detach(), stage_edit, cycle, attention_weight),
            }
            terms = {name: terms.get(name, 0.0) + value for name, value in stage_terms.items()}
            before, before_condition = stage_edit.image, condition
        return terms

    def _request_loss(self, labels: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """The label error of edits asked to go from one condition to another, of AUs weighed by the request."""
        if not self.weights.cond_unit or self.num_classes is not None:
            return self.label_loss(labels, after, self.weights.lambda_cond)
        weights = losses.weigh_requests(before, after, self.weights.cond_unit)
        return self.weights.lambda_cond * losses.compute_conditional_loss(labels, after, weights)

    def _misread(self, critic: Critic, images: Tensor, source: Tensor) -> Tensor | float:
        """What the critic reads too much on the unchanged faces, B×17; 0 where the error is not that of the change.

        Without it an edit is asked for what the critic reads wrongly on its source too. Labels are drawn to their
        mean by the label sensitivity, so that a small request could seem fulfilled by doing nothing.
        """
        if not self.weights.cond_on_change or self.num_classes is not None:
            return 0.0
        with torch.no_grad():
            return critic(images)[1] - source

    def _attention_terms(self, source: Tensor, edit: Edit, cycle: Edit, attention_weight: Tensor) -> Terms:
        branches = [*edit.branches.values(), *cycle.branches.values()]
        if not branches:
            return {}
        maps = [branch.attention for branch in branches]
        penalised = [1 - m for m in maps] if self.keep_source else maps
        return {
            "chroma": self.weights.lambda_chroma * losses.compute_chroma_loss(edit.image, source),
            "attn": self.weights.lambda_attn * attention_weight * losses.compute_attention_loss(penalised),
            "opacity": self.weights.lambda_opacity * losses.compute_opacity_loss(branches),
            "floor": self.weights.lambda_floor * losses.compute_attention_floor(maps),
            "tv": self.weights.lambda_tv * attention_weight * losses.compute_total_variation(maps),
        }


def build_objective(experiment: str, config: TrainConfig, num_classes: int) -> Objective:
    """The objective of an experiment. All share one recipe, but GANimation penalises 1 − attention, as published, and
    StarGAN is taught classes.

    A cascade, which starts from a trained run, has weights of its own.
    """
    return Objective(
        weights=config.loss if EXPERIMENTS[experiment].initialised_from is None else config.cascade_loss,
        num_classes=num_classes if experiment == "stargan" else None,
        keep_source=experiment == "ganimation",
    )
