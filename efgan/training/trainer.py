"""The only GAN training loop: it trains every method, single-stage or cascade."""

import copy
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from efgan.config import TrainConfig
from efgan.data.batches import Batch, BatchSampler
from efgan.grids import save_sample_grid
from efgan.models.branch import Edit
from efgan.models.cascade import CascadeEFGAN
from efgan.models.discriminator import Critic
from efgan.models.layers import set_precision
from efgan.progress import track
from efgan.provenance import write_atomic
from efgan.training.checkpoint import (
    adam_tensors,
    load_tensors,
    load_weights,
    pack,
    restore_adam,
    save_tensors,
    unpack,
)
from efgan.training.cuda_graph import CapturedStep
from efgan.training.objectives import Objective, Terms

ATTENTION_RANGE = (0.01, 0.98)  # outside of it a branch has collapsed to copying or to repainting (our decision)
_ALARM_AFTER = 0.05  # fraction of the run


class TrainingDivergedError(RuntimeError):
    """A loss term became infinite or not a number."""


class Draw(NamedTuple):
    """What one critic update draws for B faces and a generator of N stages.

    Attributes:
        images: B×3×S×S in [-1, 1].
        source, target: their conditions, B×K.
        mix: NB×1×1×1 from U(0, 1), the places of the gradient penalty.
        direction: B×K from N(0, I), a random direction in label space per face.
    """

    images: Tensor
    source: Tensor
    target: Tensor
    mix: Tensor
    direction: Tensor


@dataclass(kw_only=True)
class Trainer:
    """Alternates critic and generator updates, logs, samples and checkpoints; resumes where it stopped.

    Attributes:
        generator, critic: trained in place.
        objective: the method's losses.
        sampler: training batches.
        rng: the CPU generator behind all randomness of the loop.
        config: the schedule.
        iterations, learning_rate: of this phase.
        critic_warmup: critic updates on real labels before the first iteration.
        precision: "fp32" or "bf16", of the convolutions; a resumed run keeps the one it began with.
        folder: receives history.jsonl, samples/ and checkpoint.safetensors.
        preview: faces for the sample grids; None for none.
        seconds: spent so far; at first on the Interpolator.
    """

    generator: nn.Module
    critic: Critic
    objective: Objective
    sampler: BatchSampler
    rng: torch.Generator
    config: TrainConfig
    iterations: int
    learning_rate: float
    folder: Path
    critic_warmup: int = 0
    precision: str = "fp32"
    preview: Batch | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._set_precision(self.precision)
        optim = self.config.optim
        self.ema = copy.deepcopy(self.generator).requires_grad_(False)
        device = self.sampler.faces.images.device
        on_gpu = device.type == "cuda"
        self.adam, self.adam_critic = (
            torch.optim.Adam(module.parameters(), torch.tensor(self.learning_rate, device=device),
                             (optim.beta1, optim.beta2), fused=True, capturable=on_gpu)
            for module in (self.generator, self.critic)
        )  # fmt: skip
        self._stages = len(self.generator.stages) if isinstance(self.generator, CascadeEFGAN) else 1
        self._captured = CapturedStep() if on_gpu else None
        self.rate = self.learning_rate
        self.iteration = 0
        self.alarms: dict[str, str] = {}
        self._pending: list[dict[str, Tensor]] = []

    def run(self) -> None:
        """Trains to the end, from the checkpoint in `folder` if there is one.

        Raises:
            TrainingDivergedError: a term is not finite; the message names it and the iteration.
            UserError: the checkpoint is damaged or of another version.
        """
        started = time.perf_counter()
        if self._checkpoint.exists():
            self._resume()
        else:
            self._history.unlink(missing_ok=True)  # of a run that died before its first checkpoint
            self._warm_up_critic()
        started -= self.seconds
        for _ in track(range(self.iteration, self.iterations), total=self.iterations, initial=self.iteration,
                       description=f"training {self.folder.parent.name}"):  # fmt: skip
            self._pending.append(self.step())
            self.seconds = time.perf_counter() - started
            if self._due(self.config.log_every):
                self._log()
            if self.preview is not None and self._due(self.config.sample_every):
                self._save_samples()
            if self._due(self.config.checkpoint_every):
                self._log()  # no checkpoint of unchecked losses
                self._save_checkpoint()

    def _warm_up_critic(self) -> None:
        """Teaches the critic's label head on real faces, so that the generator is asked for expressions at once."""
        for _ in track(range(self.critic_warmup), description=f"critic of {self.folder.parent.name}"):
            draw = self._draw()
            labels, progress = self.critic(draw.images)[1], self._progress
            terms = self.objective.label_terms(self.critic, draw.images, labels, draw.source, draw.direction, progress)
            _descend(self.adam_critic, terms)

    def step(self) -> Terms:
        """One iteration: `n_critic` critic updates and one generator update. Returns its terms, detached."""
        self._schedule()
        draws = [self._draw() for _ in range(self.config.n_critic)]
        inputs = (self._progress, *(tensor for draw in draws for tensor in draw))
        terms = self._captured(self._update, *inputs) if self._captured else self._update(*inputs)
        self._update_ema()
        self.iteration += 1
        return terms

    def _draw(self) -> Draw:
        batch = self.sampler.next()
        source, target = self.objective.conditions(batch)
        mix = torch.rand(len(source) * self._stages, 1, 1, 1, generator=self.rng)
        direction = torch.randn(source.shape, generator=self.rng)
        return Draw(batch.images, source, target, mix.to(source.device), direction.to(source.device))

    def _update(self, progress: Tensor, *drawn: Tensor) -> Terms:
        """Updates the critic with each draw and the generator with the last; Python sees no tensor's value here.

        The last critic update and the generator update share one edit and its graph.

        Args:
            progress: fraction of the iterations that are over, a scalar.
            drawn: the tensors of `n_critic` draws, one after the other.
        """
        n = len(Draw._fields)
        draws = [Draw(*drawn[k : k + n]) for k in range(0, len(drawn), n)]
        for draw in draws:
            with torch.set_grad_enabled(draw is draws[-1]):
                edit = self.generator(draw.images, draw.source, draw.target)
            critic_terms = self._update_critic(draw, edit, progress)
        generator_terms = self._update_generator(draws[-1], edit, progress)
        attention = {name: value.mean() for name, value in edit.attentions.items()}
        groups = {"critic": critic_terms, "generator": generator_terms, "attention": attention}
        return {f"{group}/{name}": value.detach() for group, terms in groups.items() for name, value in terms.items()}

    def _update_critic(self, draw: Draw, edit: Edit, progress: Tensor) -> Terms:
        terms = self.objective.critic_terms(
            self.critic, draw.images, draw.source, edit, draw.mix, draw.direction, progress
        )
        _descend(self.adam_critic, terms)
        return terms

    def _update_generator(self, draw: Draw, edit: Edit, progress: Tensor) -> Terms:
        warmup = self.config.attention_warmup
        attention_weight = (progress / warmup).clamp(max=1.0) if warmup else torch.ones_like(progress)
        self.critic.requires_grad_(False)
        terms = self.objective.generator_terms(
            self.generator, self.critic, draw.images, draw.source, draw.target, edit, attention_weight
        )
        _descend(self.adam, terms)
        self.critic.requires_grad_(True)
        return terms

    def _set_precision(self, precision: str) -> None:
        self.precision = precision
        set_precision(self.generator, precision)
        self.critic.bf16 = precision == "bf16"

    @property
    def _progress(self) -> Tensor:
        """Fraction of the iterations that are over."""
        return torch.tensor(self.iteration / self.iterations, device=self.sampler.faces.images.device)

    def _schedule(self) -> None:
        """Constant learning rate, then linear to zero."""
        progress, knee = self.iteration / self.iterations, self.config.optim.decay_from
        self.rate = self.learning_rate * (1.0 if progress < knee or knee == 1 else (1 - progress) / (1 - knee))
        for optimizer in (self.adam, self.adam_critic):
            for group in optimizer.param_groups:
                group["lr"].fill_(self.rate)

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.config.optim.ema, (1 + self.iteration) / (10 + self.iteration))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.generator.parameters()), 1 - decay)

    def _due(self, every: int) -> bool:
        return self.iteration % every == 0 or self.iteration == self.iterations

    def _log(self) -> None:
        """Appends the means since the last line to history.jsonl; checks every iteration's terms."""
        if not self._pending:
            return
        names = list(self._pending[0])
        values = torch.stack([torch.stack([terms[name].float() for name in names]) for terms in self._pending]).cpu()
        first = self.iteration - len(values)
        for row, column in (~values.isfinite()).nonzero().tolist()[:1]:
            raise TrainingDivergedError(
                f"{names[column]} is {values[row, column].item()} at iteration {first + row}: lower the learning rate, "
                "set precision to fp32, or take another seed"
            )
        self._pending.clear()
        means = dict(zip(names, values.mean(0).tolist(), strict=True))
        self._watch_attention(means)
        line = {"iteration": self.iteration, "seconds": round(self.seconds, 2), "learning_rate": self.rate, **means}
        with self._history.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _watch_attention(self, means: dict[str, float]) -> None:
        """Warns once per branch whose attention has collapsed."""
        low, high = ATTENTION_RANGE
        for name, mean in means.items():
            branch = name.removeprefix("attention/")
            if branch == name or branch in self.alarms or self.iteration < _ALARM_AFTER * self.iterations:
                continue
            if not low <= mean <= high:
                self.alarms[branch] = f"mean attention {mean:.4f} at iteration {self.iteration}"
                effect = "copies its input" if mean < low else "repaints everything"
                warnings.warn(
                    f"{branch} branch: {self.alarms[branch]} is outside {low}-{high}; the branch {effect}", stacklevel=2
                )

    @torch.no_grad()
    def _save_samples(self) -> None:
        """Rows: sources, edits by the averaged generator, its attention (the largest of a cascade's stages)."""
        assert self.preview is not None
        edit = self.ema(self.preview.images, *self.objective.conditions(self.preview))
        stages = [stage.image for stage in edit.stages[:-1]]
        rows = {"source": self.preview.images, **{f"stage {k}": x for k, x in enumerate(stages, 1)}, "edit": edit.image}
        rows |= {name: attention[:, None] for name, attention in edit.strongest_attention.items()}
        path = self.folder / "samples" / f"iteration_{self.iteration:06d}.png"
        save_sample_grid(path, list(rows.values()), list(rows))

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    @property
    def _history(self) -> Path:
        return self.folder / "history.jsonl"

    def _modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "ema": self.ema, "critic": self.critic}

    def _save_checkpoint(self) -> None:
        tensors = {"rng": self.rng.get_state()}
        for name, module in self._modules().items():
            tensors |= pack(name, module.state_dict())
        tensors |= pack("adam", adam_tensors(self.adam)) | pack("adam_critic", adam_tensors(self.adam_critic))
        state = {"iteration": self.iteration, "seconds": self.seconds, "alarms": self.alarms,
                 "precision": self.precision}  # fmt: skip
        save_tensors(self._checkpoint, tensors, state)

    def _resume(self) -> None:
        tensors, state = load_tensors(self._checkpoint)
        for name, module in self._modules().items():
            load_weights(module, unpack(name, tensors), self._checkpoint)
        restore_adam(self.adam, unpack("adam", tensors))
        restore_adam(self.adam_critic, unpack("adam_critic", tensors))
        if self._captured:  # a graph would go on with the tensors of before
            self._captured = CapturedStep()
        self.rng.set_state(tensors["rng"])
        self.iteration, self.seconds, self.alarms = state["iteration"], state["seconds"], state["alarms"]
        self._set_precision(state["precision"])
        lines = self._history.read_text().splitlines() if self._history.exists() else []
        with write_atomic(self._history) as file:  # what came after the checkpoint is made again
            file.writelines(f"{line}\n" for line in lines if _iteration_of(line) <= self.iteration)


def _descend(optimizer: torch.optim.Optimizer, terms: Terms) -> None:
    """One step of an optimiser down the sum of the terms."""
    optimizer.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    optimizer.step()


def _iteration_of(line: str) -> float:
    """The iteration of a history line; infinite for a line that was torn when the machine died."""
    try:
        return json.loads(line)["iteration"]
    except json.JSONDecodeError:
        return float("inf")
