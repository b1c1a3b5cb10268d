"""The training loop: what it updates, what it logs, and that it resumes bit by bit."""

import json
import time
import warnings
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from conftest import BOXES, make_faces
from torch.utils._python_dispatch import TorchDispatchMode

from efgan.config import LossWeights
from efgan.data.batches import BatchSampler
from efgan.errors import UserError
from efgan.models import build_generator
from efgan.models.discriminator import Critic
from efgan.training import precision
from efgan.training import trainer as trainer_module
from efgan.training.checkpoint import load_tensors, save_tensors
from efgan.training.cuda_graph import CapturedStep
from efgan.training.objectives import build_objective
from efgan.training.precision import choose_precision, require_usable_gpu
from efgan.training.trainer import Trainer, TrainingDivergedError

METHODS = ("stargan", "ganimation", "local_focus", "cascade_ef_gan")


@pytest.fixture
def build(tmp_path, tiny_model, tiny_train):
    """A trainer of any method on random faces."""

    def make(experiment="ganimation", folder="run", device="cpu", iterations=6, **changes) -> Trainer:
        torch.manual_seed(0)
        rng = torch.Generator().manual_seed(0)
        config = replace(tiny_train, **changes)
        generator = build_generator(experiment, tiny_model, image_size=64, num_classes=8, boxes=BOXES)
        objective = build_objective(experiment, config, 8)
        sampler = BatchSampler(make_faces().to(torch.device(device)), batch_size=2, target_noise=0.1, rng=rng,
                               classed_only=experiment == "stargan")  # fmt: skip
        (tmp_path / folder).mkdir(exist_ok=True)
        return Trainer(
            generator=generator.to(device), critic=Critic(64, 4, 8, 8 if experiment == "stargan" else 17).to(device),
            objective=objective, sampler=sampler, rng=rng, config=config, iterations=iterations, learning_rate=1e-3,
            folder=tmp_path / folder,
        )  # fmt: skip

    return make


@pytest.mark.parametrize("experiment", METHODS)
def test_one_loop_trains_every_method(build, experiment):
    """Every generator weight that can learn moves, and so does the critic."""
    trainer = build(experiment)
    before = {n: p.clone() for n, p in trainer.generator.named_parameters() if "interpolator" not in n}
    trainer.run()
    after = dict(trainer.generator.named_parameters())
    still = [n for n, p in before.items() if torch.equal(p, after[n])]
    assert not still
    assert trainer.iteration == 6


@pytest.mark.parametrize("experiment", METHODS)
def test_resuming_is_bit_exact(build, experiment):
    """Stopping at half and resuming gives the weights and the history of the uninterrupted run."""
    whole = build(experiment, "whole")
    whole.run()
    half = build(experiment, "halves", checkpoint_every=3)
    half.config = replace(half.config, checkpoint_every=3)
    for _ in range(3):
        half._pending.append(half.step())
        half._log()
    half._save_checkpoint()
    half._pending.append(half.step())  # work after the checkpoint is lost, and made again
    half._log()
    rest = build(experiment, "halves")
    rest.run()
    for name in ("generator", "ema", "critic"):
        for a, b in zip(getattr(whole, name).parameters(), getattr(rest, name).parameters(), strict=True):
            assert torch.equal(a, b), name
    lines = [
        [{**json.loads(line), "seconds": 0} for line in (t.folder / "history.jsonl").read_text().splitlines()]
        for t in (whole, rest)
    ]
    assert lines[0] == lines[1] and [line["iteration"] for line in lines[0]] == [1, 2, 3, 4, 5, 6]


def test_critic_is_frozen_in_the_generator_step(build):
    """The generator's loss leaves no gradient in the critic."""
    trainer = build()
    draw = trainer._draw()
    edit = trainer.generator(draw.images, draw.source, draw.target)
    trainer.critic.zero_grad()
    trainer._update_generator(draw, edit, trainer._progress)
    assert all(p.grad is None for p in trainer.critic.parameters())
    assert all(p.requires_grad for p in trainer.critic.parameters())


def test_critic_step_leaves_the_generator_alone(build):
    """Edits enter the critic's loss without graph."""
    trainer = build()
    draw = trainer._draw()
    trainer._update_critic(draw, trainer.generator(draw.images, draw.source, draw.target), trainer._progress)
    assert all(p.grad is None for p in trainer.generator.parameters())


def test_the_generator_learns_from_the_last_draw_and_its_edit(build, monkeypatch):
    """One edit serves the last critic update and the generator's: both are of the same faces and conditions."""
    trainer, seen = build(n_critic=3), []
    update = Trainer._update_generator
    monkeypatch.setattr(Trainer, "_update_generator", lambda *given: seen.append(given) or update(*given))
    draws = [trainer._draw() for _ in range(3)]
    with torch.no_grad():
        expected = trainer.generator(draws[-1].images, draws[-1].source, draws[-1].target).image
    trainer._update(trainer._progress, *(tensor for draw in draws for tensor in draw))
    ((_, draw, edit, _),) = seen
    assert all(a is b for a, b in zip(draw, draws[-1], strict=True)) and torch.equal(edit.image, expected)


@pytest.mark.parametrize("experiment", ["local_focus", "cascade_ef_gan"])
def test_every_stage_goes_back_the_way_it_came(build, experiment):
    """The cycle of a stage: from its own image and condition to the condition before it (our decision)."""
    trainer = build(experiment)
    draw = trainer._draw()
    edit = trainer.generator(draw.images, draw.source, draw.target)
    stages = list(getattr(trainer.generator, "stages", [trainer.generator]))
    calls = []
    for stage in stages:
        stage.register_forward_pre_hook(lambda _, given: calls.append(given))
    trainer._update_generator(draw, edit, trainer._progress)
    path = [draw.target] if edit.stage_aus is None else [*edit.stage_aus.unbind(1)]
    steps = zip(calls, edit.stages or (edit,), path, [draw.source, *path[:-1]], strict=True)
    for (image, own, back), stage_edit, condition, before in steps:
        assert image is stage_edit.image and torch.equal(own, condition) and torch.equal(back, before)


def test_the_warm_up_teaches_the_critics_labels_alone(build, monkeypatch):
    """On real faces, before the first iteration and once: scores and the generator stay, the label error falls."""
    trainer = build(iterations=3)
    trainer.critic_warmup, taught = 30, []
    generator = [p.detach().clone() for p in trainer.generator.parameters()]
    scores = trainer.critic.patch_head.weight.detach().clone()
    descend = trainer_module._descend
    monkeypatch.setattr(trainer_module, "_descend", lambda adam, terms: taught.append(terms) or descend(adam, terms))
    trainer._warm_up_critic()
    assert torch.equal(trainer.critic.patch_head.weight, scores)
    assert all(torch.equal(a, b) for a, b in zip(generator, trainer.generator.parameters(), strict=True))
    assert len(taught) == 30 and taught[-1]["cond"] < taught[0]["cond"] / 2
    for first in (33, 36):  # a run that goes on from its checkpoint has been warmed up
        taught.clear()
        rest = build(iterations=first - 30, n_critic=1)
        rest.critic_warmup = 30
        rest.run()
        assert len(taught) == (30 + 2 * 3 if first == 33 else 2 * 3)


def test_the_clock_counts_the_warm_up_and_what_came_before(build, monkeypatch):
    """`training_seconds` of a report: Interpolator, the critic's warm-up, iterations."""
    trainer = build(iterations=1)
    trainer.seconds = 100.0
    monkeypatch.setattr(Trainer, "_warm_up_critic", lambda self: time.sleep(0.3))
    trainer.run()
    assert trainer.seconds > 100.3


def test_non_finite_losses_name_iteration_and_term(build):
    """Training stops at the first bad term instead of going on silently."""
    trainer = build(n_critic=1)
    trainer.step()
    with torch.no_grad():
        trainer.critic.label_head.weight.fill_(float("nan"))
    trainer.iteration = 1
    with pytest.raises(TrainingDivergedError, match=r"critic/cond is nan at iteration 1"):
        trainer.run()


def test_collapsed_attention_is_reported(build):
    """A branch that copies its input raises an alarm, once."""
    trainer = build()
    head = trainer.generator.branch.backbone.head
    with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer._watch_attention({"attention/global": 0.001})
        trainer.iteration = 5
        trainer._watch_attention({"attention/global": 0.001})
        trainer._watch_attention({"attention/global": 0.001})
    assert head.weight.requires_grad and len(caught) == 1
    assert "copies its input" in str(caught[0].message) and "global" in trainer.alarms


def test_learning_rate_is_constant_then_linear(build):
    """Two thirds at full rate, then down towards zero."""
    trainer = build()
    rates = []
    for iteration in range(6):
        trainer.iteration = iteration
        trainer._schedule()
        rates.append(trainer.adam.param_groups[0]["lr"].item() / 1e-3)
    assert rates == pytest.approx([1, 1, 1, 1, 1, 0.5])


def test_attention_weight_grows_from_zero(build):
    """λ3 warms up, so that attention does not collapse before the edits are useful."""
    trainer = build(attention_warmup=0.5)
    first = trainer.step()
    second = trainer.step()
    assert first["generator/attn"] == 0 < second["generator/attn"]


def test_average_follows_the_generator(build):
    """After one iteration it has moved by 1 − (1 + 0) / (10 + 0) = 0.9 of the way to the new weights."""
    trainer = build()
    before = [p.clone() for p in trainer.ema.parameters()]
    trainer.step()
    for old, average, new in zip(before, trainer.ema.parameters(), trainer.generator.parameters(), strict=True):
        torch.testing.assert_close(average, 0.1 * old + 0.9 * new.detach())
    assert not any(p.requires_grad for p in trainer.ema.parameters())


def test_a_run_that_died_before_its_first_checkpoint_starts_clean(build):
    """Its history is not continued."""
    trainer = build()
    trainer._pending.append(trainer.step())
    trainer._log()
    rest = build()
    rest.run()
    lines = (rest.folder / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_torn_history_line_is_dropped(build):
    """The machine died while a line was written: resuming makes it again."""
    trainer = build()
    trainer.iterations = 3
    trainer.run()
    with (trainer.folder / "history.jsonl").open("a") as file:
        file.write('{"iteration": 4, "sec')
    rest = build()
    rest.run()
    lines = (rest.folder / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_losses_are_checked_before_every_checkpoint(build):
    """A checkpoint between two log lines writes the first of them early, so nothing goes unseen."""
    trainer = build(log_every=4, checkpoint_every=3)
    trainer.run()
    lines = (trainer.folder / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [3, 4, 6]


@pytest.mark.parametrize("requested", ["auto", "fp32", "bf16"])
def test_a_gpu_trains_in_fp32_unless_told_otherwise(requested):
    """bf16 was slower there for EF-GAN; needs no GPU to be asked."""
    assert choose_precision(requested, torch.device("cuda")) == ("bf16" if requested == "bf16" else "fp32")


@pytest.mark.parametrize(("listed", "usable"), [(["0"], False), (["0"], True), ([], False)])
def test_a_gpu_that_torch_cannot_use_is_told_before_training(monkeypatch, listed, usable):
    """The CPU would take days; a user may want it all the same."""
    monkeypatch.setattr(precision, "visible_gpus", lambda: listed)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    told = pytest.raises(UserError, match=r"efgan doctor.*CUDA_VISIBLE_DEVICES=")
    with told if listed and not usable else nullcontext():
        require_usable_gpu()


def test_a_resumed_run_keeps_its_precision(build):
    """What the run began with counts, not what is measured later."""
    trainer = build()
    trainer._set_precision("bf16")
    trainer.run()
    rest = build()
    rest.iterations = 7
    rest.run()
    assert rest.precision == "bf16" and rest.critic.bf16 and rest.generator.branch.backbone.bf16


def test_truncated_checkpoint_is_one_clear_line(build):
    """A damaged file says so and what to do; nothing is overwritten."""
    trainer = build()
    trainer.run()
    path = trainer.folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"damaged.*delete it"):
        build().run()
    assert path.stat().st_size == 100


def test_checkpoint_of_another_model_is_refused(build, tmp_path):
    """Names or shapes that do not fit are reported, not loaded in part."""
    trainer = build("stargan", "run")
    trainer.run()
    with pytest.raises(UserError, match="does not fit the model"):
        build("ganimation", "run").run()


def test_tensors_survive_the_file(tmp_path):
    """Tensors and state read back as written."""
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": torch.arange(3)}, {"iteration": 7})
    tensors, state = load_tensors(path)
    assert torch.equal(tensors["x"], torch.arange(3)) and state == {"iteration": 7}


def test_missing_weights_say_what_to_do(tmp_path):
    """No file, no traceback."""
    with pytest.raises(UserError, match="train that run first"):
        load_tensors(tmp_path / "weights.safetensors")


def test_ganimation_penalises_its_own_mask(build):
    """Its mask is 1 − attention: the published penalty rewards editing, EF-GAN's rewards copying."""
    terms = {}
    for experiment in ("ganimation", "baseline"):
        trainer = build(experiment, experiment, attention_warmup=0.0)
        terms[experiment] = trainer.step()["generator/attn"] / trainer.config.loss.lambda_attn
    assert terms["ganimation"] + terms["baseline"] == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize(("experiment", "factor"), [("local_focus", 1), ("cascade_ef_gan", 3)])
def test_stages_of_a_cascade_have_a_content_weight_of_their_own(build, experiment, factor):
    """Their edits add up, so keeping the input may count for more; a single stage does not see that weight."""
    losses = (LossWeights(lambda_cont=30.0), LossWeights())
    terms = [build(experiment, f"run{k}", cascade_loss=loss).step()["generator/cont"] for k, loss in enumerate(losses)]
    assert terms[0] / terms[1] == pytest.approx(factor, rel=1e-5)


@pytest.mark.parametrize("experiment", ["baseline", "cascade_ef_gan"])
def test_error_of_the_change_forgives_what_the_critic_misreads(build, experiment):
    """An edit that changes nothing pays the squared AU distance of what was asked, however wrong the critic reads its
    source; the published error is that of the reading itself.
    """
    weights = LossWeights(lambda_cond=1.0, cond_on_change=True)
    trainer = build(experiment, "run", loss=weights, cascade_loss=weights)
    batch = trainer.sampler.next()
    source, target = batch.source_aus, batch.target_aus
    with torch.no_grad():
        edit = trainer.generator(batch.images, source, target)
        copies = tuple(replace(stage, image=batch.images) for stage in edit.stages)
        copy = replace(edit, image=batch.images, stages=copies)
        trainer.critic.label_head.weight.mul_(0).add_(0.01)  # reads anything but the source's AUs
        terms = {change: replace(trainer.objective, weights=LossWeights(lambda_cond=1.0, cond_on_change=change))
                 .generator_terms(trainer.generator, trainer.critic, batch.images, source, target, copy, 1.0)["cond"]
                 for change in (True, False)}  # fmt: skip
    asked = [target] if edit.stage_aus is None else edit.stage_aus.unbind(1)
    expected = sum((aus - source).square().mean() for aus in asked)
    torch.testing.assert_close(terms[True], expected)
    assert terms[False] != pytest.approx(terms[True].item(), rel=0.01)


def test_cascades_have_weights_of_their_own(tiny_train):
    """And single stages keep theirs."""
    config = replace(tiny_train, loss=LossWeights(lambda_cont=3.0), cascade_loss=LossWeights(lambda_cont=0.5))
    found = {name: build_objective(name, config, 8).weights for name in METHODS}
    assert found == {name: config.cascade_loss if name == "cascade_ef_gan" else config.loss for name in METHODS}


@pytest.mark.parametrize(("experiment", "setting", "changes"), [
    ("local_focus", "loss", True), ("cascade_ef_gan", "cascade_loss", True), ("local_focus", "cascade_loss", False),
    ("stargan", "loss", False),
])  # fmt: skip
def test_requests_are_weighed_where_asked_for(build, experiment, setting, changes):
    """The label error of AUs changes with the weights of its own kind of stage; classes have no distance."""
    alike, weighed = (build(experiment, f"run{unit}", **{setting: LossWeights(cond_unit=unit)}).step()["generator/cond"]
                      for unit in (0.0, 0.01))  # fmt: skip
    assert (weighed.item() != pytest.approx(alike.item(), rel=0.01)) == changes


def test_no_branch_may_close(build, monkeypatch):
    """The floor of attention enters the generator's loss with its weight."""
    monkeypatch.setattr("efgan.training.losses.LEAST_ATTENTION", 1.0)
    terms = [build("local_focus", f"run{k}", loss=LossWeights(lambda_floor=weight)).step()["generator/floor"]
             for k, weight in enumerate((0.0, 1.0, 2.0))]  # fmt: skip
    assert terms[0] == 0 < terms[1] and terms[2] / terms[1] == pytest.approx(2)


@pytest.mark.parametrize(("experiment", "paid"), [
    ("local_focus", True), ("cascade_ef_gan", True), ("baseline", True), ("ganimation", True), ("stargan", False),
])  # fmt: skip
def test_half_open_attention_is_paid_for(build, experiment, paid):
    """The opacity of every branch enters the generator's loss with its weight; StarGAN has no attention."""
    terms = []
    for weight in (1.0, 2.0):
        weights = LossWeights(lambda_opacity=weight)
        step = build(experiment, f"run{weight}", loss=weights, cascade_loss=weights).step()
        terms.append(step.get("generator/opacity", torch.tensor(0.0)))
    assert (terms[0] > 0) == paid
    torch.testing.assert_close(terms[1], 2 * terms[0])


_FROM_THE_CPU = {  # operations that make tensors of Python's numbers or CPU randomness, or give values to Python
    torch.ops.aten.lift_fresh.default, torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default,
    torch.ops.aten.rand.default, torch.ops.aten.rand.generator, torch.ops.aten.randn.default,
    torch.ops.aten.randn.generator, torch.ops.aten.randint.low, torch.ops.aten.randint.low_generator,
}  # fmt: skip


class _Watch(TorchDispatchMode):
    """Fails where a step does what a CUDA graph cannot record."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in _FROM_THE_CPU, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("experiment", METHODS)
def test_a_step_can_be_captured(build, experiment):
    """A CUDA graph records kernels alone: no copy from the CPU, no value read back."""
    weights = LossWeights(lambda_chroma=1.0, lambda_floor=1.0, lambda_opacity=1.0, lambda_sens=0.1, cond_on_change=True,
                          cond_unit=0.1)  # fmt: skip
    trainer = build(experiment, n_critic=2, attention_warmup=0.5, loss=weights, cascade_loss=weights)
    drawn = [tensor for _ in range(2) for tensor in trainer._draw()]
    progress = trainer._progress
    with _Watch():
        trainer._update(progress, *drawn)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("experiment", METHODS)
def test_on_a_gpu_the_captured_step_trains_as_the_plain_one(build, experiment):
    """The graph follows schedules that change after its capture, its losses stay, and a rate of 0 stops it.

    The rate is low: at 1e-3, Adam makes of rounding as coarse as TF32's other losses within these steps.
    """
    weights = LossWeights(lambda_sens=0.1, lambda_sens_final=0.01)
    plain, captured = (
        build(experiment, name, device="cuda", n_critic=2, attention_warmup=0.9, iterations=12, loss=weights,
              cascade_loss=weights)
        for name in ("plain", "captured")
    )  # fmt: skip
    plain._captured, captured._captured = None, CapturedStep()
    plain.learning_rate = captured.learning_rate = 1e-5
    weights = [p for n, p in captured.generator.named_parameters() if "interpolator" not in n]
    start = [p.detach().clone() for p in weights]
    for _ in range(plain.iterations - 1):
        expected, terms = plain.step(), captured.step()
        assert terms.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(terms[name], value.float(), rtol=0.05, atol=1e-3, msg=name)
    kept = {name: value.item() for name, value in terms.items()}
    assert not any(torch.equal(a, b) for a, b in zip(start, weights, strict=True))
    captured.learning_rate = 0.0
    before = [p.detach().clone() for p in weights]
    captured.step()
    assert all(torch.equal(a, b) for a, b in zip(before, weights, strict=True))
    assert kept == {name: value.item() for name, value in terms.items()}
