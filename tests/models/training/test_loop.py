"""The stacked training against a plain one, written as a textbook would."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tuner.data import Standardizer
from tuner.models.compute.device import prepare_process
from tuner.models.compute.randomness import random_streams
from tuner.models.config import TrainingConfig
from tuner.models.encoders.pair import EncoderPair
from tuner.models.encoders.stacked import unstack
from tuner.models.errors import TrainingDivergedError, UnsupportedShapeError
from tuner.models.evaluation.crossmodal import RECALL_NAMES
from tuner.models.evaluation.similarity import PERMUTATIONS, similarities, similarities_and_null
from tuner.models.export import portable_encoder
from tuner.models.outcome import RULES, weights_name
from tuner.models.rows import Rows, Scaling, TrainingData
from tuner.models.training.loop import _StackTraining, seconds_a_step, train
from tuner.models.training.stacks import part_size, stack_size
from tuner.models.training.telling import Teller
from tuner.study.trial import together

CONFIG = TrainingConfig(
    encoder_a="mlp",
    encoder_b="mlp",
    hidden=12,
    embedding=6,
    projection_width=5,
    epochs=4,
    patience=4,
    batch_size=16,
)


@pytest.fixture(autouse=True)
def float64():
    """In float64 two ways of computing the same differ by rounding alone."""
    torch.set_default_dtype(torch.float64)
    prepare_process()
    yield
    torch.set_default_dtype(torch.float32)


def world(task="classification", unlabelled=0.0, train_rows=70, seed=0) -> TrainingData:
    rng = np.random.default_rng(seed)

    def rows(count: int, share: float) -> Rows:
        latent = rng.normal(size=(count, 3))
        labelled = rng.random(count) >= share
        codes = np.where(labelled, (latent[:, 0] > 0).astype(np.int64) + (latent[:, 1] > 0.5), -1)
        values = np.where(labelled, latent[:, 0], 0).astype(np.float32)
        return Rows(
            a=(latent @ rng.normal(size=(3, 7)) + rng.normal(size=(count, 7))).astype(np.float32),
            b=(latent @ rng.normal(size=(3, 4)) + rng.normal(size=(count, 4))).astype(np.float32),
            target=codes if task == "classification" else values,
            is_labelled=labelled,
        )

    def identity(width: int) -> Standardizer:
        return Standardizer(mean=np.zeros(width, np.float32), scale=np.ones(width, np.float32))

    return TrainingData(
        train=rows(train_rows, unlabelled),
        validation=rows(30, 0.0),
        task=task,
        outputs=3 if task == "classification" else 1,
        shapes=((7,), (4,)),
        scaling=Scaling(a=identity(7), b=identity(4), target_mean=10.0, target_scale=2.0),
    )


class PlainPair(nn.Module):
    """One replicate with ordinary layers."""

    def __init__(self, stacked: EncoderPair):
        super().__init__()
        for side in ("a", "b"):
            branch = getattr(stacked, side)
            setattr(self, f"encoder_{side}", unstack(branch.encoder, 0))
            setattr(self, f"head_{side}", unstack(nn.Sequential(branch.head), 0))
            setattr(self, f"projection_{side}", unstack(branch.projection, 0))

    def forward(self, a, b):
        za, zb = self.encoder_a(a), self.encoder_b(b)
        return za, zb, self.head_a(za), self.head_b(zb)

    def alignment(self, za, zb, temperature):
        pa = functional.normalize(self.projection_a(za), dim=-1)
        pb = functional.normalize(self.projection_b(zb), dim=-1)
        similarity = pa @ pb.T / temperature
        own = torch.arange(len(pa))
        forth = functional.cross_entropy(similarity, own)
        return (forth + functional.cross_entropy(similarity.T, own)) / 2


@dataclass
class PlainTraining:
    """Every epoch of one replicate: weights, and what validation rows say of each side."""

    states: list[dict]
    rows: list[dict]  # a side's losses and, in classification, codes and whether they are right

    def loss(self, side):
        return [float(epoch[side]["losses"].mean()) for epoch in self.rows]

    def best(self, rule, side, rows=slice(None)):
        """The epoch that a rule keeps, looking at some rows alone."""

        def criteria(epoch):
            seen = self.rows[epoch][side]
            loss = float(seen["losses"][rows].sum())
            return loss if rule == "loss" else (-int(seen["right"][rows].sum()), loss)

        return min(range(len(self.rows)), key=criteria)

    def crossed(self, rule, side):
        """Codes at the epoch that the other half of the rows chose."""
        codes = self.rows[0][side]["codes"].clone()
        for half in (0, 1):
            epoch = self.best(rule, side, slice(1 - half, None, 2))
            codes[half::2] = self.rows[epoch][side]["codes"][half::2]
        return codes


def plain_training(data: TrainingData, config: TrainingConfig, strength: float, seed: int):
    """Train one replicate until neither side's validation loss falls any more."""
    init, order = random_streams(seed)
    model = PlainPair(EncoderPair(data.shapes, data.outputs, config, [init]))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    xa, xb, y, known = tensors(data.train)
    found = PlainTraining([], [])
    for epoch in range(config.epochs):
        permutation = torch.randperm(len(y), generator=order)
        for start in range(0, len(y) - config.batch_size + 1, config.batch_size):
            index = permutation[start : start + config.batch_size]
            za, zb, oa, ob = model(xa[index], xb[index])
            loss = task_loss(oa, y[index], known[index]) + task_loss(ob, y[index], known[index])
            if strength > 0:
                loss = loss + strength * model.alignment(za, zb, config.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            va, vb, vy, _ = tensors(data.validation)
            _, _, oa, ob = model(va, vb)
            found.rows.append({"a": seen(oa, vy), "b": seen(ob, vy)})
        found.states.append({k: v.clone() for k, v in model.state_dict().items()})
        if epoch - max(found.best("loss", side) for side in ("a", "b")) >= config.patience:
            break
    return found


def seen(output, y):
    if y.dtype != torch.int64:
        return {"losses": (output[:, 0] - y).abs()}
    codes = output.argmax(-1)
    losses = functional.cross_entropy(output, y, reduction="none")
    return {"losses": losses, "codes": codes, "right": codes == y}


def tensors(rows: Rows):
    y = torch.from_numpy(rows.target)
    y = y if y.dtype == torch.int64 else y.double()
    return (
        torch.from_numpy(rows.a).double(),
        torch.from_numpy(rows.b).double(),
        y,
        torch.from_numpy(rows.is_labelled),
    )


def task_loss(output, y, known):
    if not known.any():
        return output.sum() * 0
    if y.dtype == torch.int64:
        return functional.cross_entropy(output[known], y[known])
    return functional.l1_loss(output[known, 0], y[known])


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("unlabelled", [0.0, 0.7])
@pytest.mark.parametrize("strength", [0.0, 0.8])
@pytest.mark.parametrize("projection", ["mlp", "linear", "none"])
def test_a_stack_trains_what_the_plain_loop_trains(task, unlabelled, strength, projection):
    data = world(task, unlabelled)
    config = CONFIG.model_copy(update={"projection": projection})
    seeds = [11, 5]
    training = _StackTraining(data, config, strength, seeds, torch.device("cpu"), data.validation)
    teller = Teller(ended=0, stacked=2, epochs=config.epochs, patience=config.patience)
    outcome = training.run(teller)
    rules = RULES if task == "classification" else RULES[:1]
    assert (outcome.by_accuracy is None) == (task == "regression")
    for k, seed in enumerate(seeds):
        plain = plain_training(data, config, strength, seed)
        for side in ("a", "b"):
            curve = outcome.curves[f"validation_loss_{side}"][k]
            np.testing.assert_allclose(curve[~np.isnan(curve)], plain.loss(side), rtol=1e-7)
            for rule in rules:
                kept = outcome.kept_by(dict.fromkeys("ab", rule))
                assert kept.best_epoch[side][k] == plain.best(rule, side)
                ours = training._kept[side].weights[rule].tensors  # an outcome has the best one's
                assert_weights(ours, plain.states[plain.best(rule, side)], side, k)
                if task == "classification":
                    seen = plain.rows[plain.best(rule, side)][side]
                    np.testing.assert_array_equal(kept.predictions[side][k], seen["codes"])
                    np.testing.assert_array_equal(kept.test_predictions[side][k], seen["codes"])
                    crossed = outcome.by_accuracy.crossed[f"{rule}/{side}"][k]
                    np.testing.assert_array_equal(crossed, plain.crossed(rule, side))
            if task == "classification":
                curve = outcome.curves[f"validation_accuracy_{side}"][k]
                right = [float(epoch[side]["right"].double().mean()) for epoch in plain.rows]
                np.testing.assert_allclose(curve[~np.isnan(curve)], right, rtol=1e-7)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("unlabelled", [0.0, 0.7])
def test_what_a_pair_does_together_is_what_the_plain_pair_of_these_weights_does(task, unlabelled):
    data, seeds, rules = world(task, unlabelled), [11, 5], RULES[: 1 + (task == "classification")]
    outcome = train(data, CONFIG, strength=0.8, seeds=seeds, test=data.validation)
    assert len({name.rsplit("/", 1)[0] for name in outcome.together}) == len(rules) ** 2
    for k, seed in enumerate(seeds):
        plain = plain_training(data, CONFIG, 0.8, seed)
        for pair in product(rules, rules):
            kept = outcome.kept_by(dict(zip("ab", pair, strict=True)))
            expected = plain_pair(plain, data, seed, dict(zip("ab", pair, strict=True)))
            assert kept.pair.keys() == expected.keys()
            for name, values in expected.items():
                np.testing.assert_allclose(kept.pair[name][k], values, rtol=1e-5)


def share_of_orders(cosines, own, k):
    ahead = sum(float(one - cosines[own]) > 1e-6 for one in cosines)
    equal = sum(abs(float(one - cosines[own])) <= 1e-6 for one in cosines)
    return min(max(k - ahead, 0), equal) / equal


def plain_pair(found, data, seed, rules):
    """What the plain pair does together by the weights of a rule for each side."""
    init, _ = random_streams(seed)
    model = PlainPair(EncoderPair(data.shapes, data.outputs, CONFIG, [init]))
    seen, outputs = {}, {}
    for side, rule in rules.items():
        model.load_state_dict(found.states[found.best(rule, side)])
        for name, rows in (("train", data.train), ("test", data.validation)):
            x = tensors(rows)["ab".index(side)]
            z = getattr(model, f"encoder_{side}")(x)
            projected = getattr(model, f"projection_{side}")(z)
            seen[side, name] = functional.normalize(projected, dim=-1).detach()
            outputs[side, name] = getattr(model, f"head_{side}")(z).detach()
    told = {}
    for name, (one, k) in RECALL_NAMES.items():
        cosines = seen[one, "test"] @ seen["ab".replace(one, ""), "test"].T
        told[name] = [share_of_orders(cosines[row], row, k) for row in range(30)]
    both = outputs["a", "test"] + outputs["b", "test"]
    if data.task == "regression":
        return told | {"fused": both[:, 0] / 2 * 2.0 + 10.0}
    _, _, y, known = tensors(data.train)
    for one, other in ("ab", "ba"):
        means = torch.stack([seen[other, "train"][known & (y == c)].mean(0) for c in range(3)])
        told[f"zero_shot_{one}"] = (
            seen[one, "test"] @ functional.normalize(means, dim=-1).T
        ).argmax(-1)
    return told | {"fused": both.argmax(-1)}


def assert_weights(ours, theirs, side, replicate):
    for name, values in theirs.items():
        part, _, rest = name.partition(f"_{side}.")
        if part in ("encoder", "head") and rest:
            stacked = ours[f"{part}.{rest}" if part == "encoder" else f"head.{rest[2:]}"][replicate]
            values = values.T if rest.endswith("weight") else values[None]
            np.testing.assert_allclose(stacked, values, rtol=1e-6, atol=1e-8)


def test_the_best_accuracy_is_of_another_epoch_than_the_least_loss():
    """Else the tests beside this one would not tell the two apart."""
    outcome = train(world(), CONFIG, strength=0.0, seeds=range(8), test=world().validation)
    other = outcome.by_accuracy
    assert (other.best_epoch["a"] != outcome.best_epoch["a"]).any()
    crossed = [other.crossed[f"{rule}/a"] for rule in RULES]
    assert (crossed[0] != crossed[1]).any()


def test_without_test_rows_nothing_is_kept_by_accuracy():
    outcome = train(world(), CONFIG, strength=0.0, seeds=[1])
    assert outcome.by_accuracy is None
    assert outcome.curves["validation_accuracy_a"].shape == (1, CONFIG.epochs)


@pytest.mark.slow
@pytest.mark.parametrize("stack", [1, 2, 3])
def test_the_weights_are_those_of_the_replicate_of_least_loss(stack):
    data = world()
    outcome = train(data, CONFIG, strength=0.5, seeds=[4, 5, 6], test=data.validation, stack=stack)
    for side in ("a", "b"):
        losses = np.nanmin(outcome.curves[f"validation_loss_{side}"], axis=1)
        best = outcome.best_replicate(side)
        assert losses[best] == losses.min() < np.delete(losses, best).min()
        accuracies = np.nanmax(outcome.curves[f"validation_accuracy_{side}"], axis=1)
        by_accuracy = outcome.best_replicate(side, "accuracy")
        assert accuracies[by_accuracy] == accuracies.max()
        for rule, replicate in zip(RULES, (best, by_accuracy), strict=True):
            alone = train(data, CONFIG, strength=0.5, seeds=[4 + replicate], test=data.validation)
            name = weights_name(side, rule)
            for part, values in alone.weights[name].items():
                ours = outcome.weights[name][part]
                np.testing.assert_allclose(ours, values, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_how_many_share_a_stack_changes_nothing_but_rounding():
    data, config = world(unlabelled=0.3), CONFIG.model_copy(update={"epochs": 15, "patience": 2})
    seeds = range(4)
    outcomes = [
        train(data, config, strength=1.0, seeds=seeds, stack=k, test=data.validation)
        for k in (1, 2, 4)
    ]
    stopped = {tuple(np.isnan(o.curves["train_loss_a"]).sum(1)) for o in outcomes}
    assert len(stopped) == 1
    assert len(set(stopped.pop())) > 1  # replicates stop at epochs of their own
    for other in outcomes[1:]:
        assert other.steps == outcomes[0].steps
        for name, curve in outcomes[0].curves.items():
            np.testing.assert_allclose(other.curves[name], curve, rtol=1e-9, equal_nan=True)
        for side in ("a", "b"):
            np.testing.assert_array_equal(other.predictions[side], outcomes[0].predictions[side])
        for name, values in outcomes[0].together.items():
            np.testing.assert_array_equal(other.together[name], values)
        for part, first in vars(outcomes[0].by_accuracy).items():
            for name, values in first.items():
                np.testing.assert_array_equal(getattr(other.by_accuracy, part)[name], values)


def test_the_same_call_gives_the_same_bits():
    data = world()
    first, second = (train(data, CONFIG, strength=0.5, seeds=[1, 2]) for _ in range(2))
    for name, curve in first.curves.items():
        assert curve.tobytes() == second.curves[name].tobytes()


def test_at_zero_the_modalities_are_independent_and_unlabelled_pairs_are_unused():
    data = world(unlabelled=0.5)
    hidden = ~data.train.is_labelled
    scrambled = data.train.a.copy()
    scrambled[hidden] = 50.0
    other = replace(data, train=replace(data.train, a=scrambled))
    base, same = (train(d, CONFIG, strength=0.0, seeds=[3]) for d in (data, other))
    np.testing.assert_array_equal(
        base.curves["validation_loss_a"], same.curves["validation_loss_a"]
    )
    assert not base.curves["alignment_loss"][:, 0].any()
    different = [train(d, CONFIG, strength=1.0, seeds=[3]) for d in (data, other)]
    assert (
        different[0].curves["validation_loss_a"][0, 0]
        != different[1].curves["validation_loss_a"][0, 0]
    )


@pytest.mark.slow
def test_alignment_brings_the_projections_together():
    data = world(train_rows=200)
    config = CONFIG.model_copy(update={"epochs": 15, "patience": 15})
    outcome = train(data, config, strength=2.0, seeds=[0, 1])
    first, last = outcome.curves["alignment_loss"][:, [0, -1]].mean(0)
    assert last < 0.8 * first < 0.8 * 1.1 * np.log(config.batch_size) * 2


@pytest.mark.parametrize("unlabelled", [0.0, 0.5])
def test_similarity_is_that_of_the_encoders_that_are_kept(unlabelled):
    data = world()
    known = data.validation.is_labelled & (np.arange(30) >= 30 * unlabelled)
    target = np.where(known, data.validation.target, -1)
    data = replace(data, validation=replace(data.validation, is_labelled=known, target=target))
    outcome = train(data, CONFIG, strength=0.7, seeds=[1, 2])
    for replicate, seed in enumerate([1, 2]):
        alone = train(data, CONFIG, strength=0.7, seeds=[seed], test=data.validation)
        embeddings = []
        for side in ("a", "b"):
            encoder = portable_encoder(alone, data, CONFIG, modality=side).double()
            x = torch.from_numpy(getattr(data.validation, side))
            with torch.no_grad():
                embeddings.append(encoder.encoder(x.double()).numpy())
        for name, value in similarities(*embeddings).items():
            assert outcome.similarity[name][replicate] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("stack", [1, 2])
def test_rows_of_all_replicates_are_permuted_alike(stack):
    """By the trial's first seed, whatever stack a replicate is in: their mean has a null then."""
    data = world()
    outcome = train(data, CONFIG, strength=0.7, seeds=[1, 2], stack=stack)
    alone = train(data, CONFIG, strength=0.7, seeds=[2], test=data.validation)
    a, b = (
        portable_encoder(alone, data, CONFIG, modality=side)
        .double()
        .encoder(torch.from_numpy(getattr(data.validation, side)).double())
        .detach()
        .numpy()
        for side in ("a", "b")
    )
    for name, null in similarities_and_null(a, b, seed=1)[1].items():
        assert outcome.similarity_null[name].shape == (2, PERMUTATIONS)
        np.testing.assert_allclose(outcome.similarity_null[name][1], null, atol=1e-5)


def test_too_few_validation_rows_have_no_similarity():
    data = world()
    few = data.validation
    held = {name: values for name, values in vars(few).items() if values is not None}
    few = replace(few, **{name: values[:3] for name, values in held.items()})
    outcome = train(replace(data, validation=few), CONFIG, strength=0.0, seeds=[1])
    assert outcome.similarity == outcome.similarity_null == {}


def test_a_diverged_replicate_fails_the_trial_and_says_where():
    config = CONFIG.model_copy(update={"learning_rate": 1e300})
    with pytest.raises(TrainingDivergedError, match=r"seed 4 became (nan|inf) in epoch 0 at λ = 2"):
        train(world(), config, strength=2.0, seeds=[4])


def test_regression_predictions_are_in_the_units_of_the_labels():
    data = world("regression", train_rows=200)
    config = CONFIG.model_copy(update={"epochs": 30, "patience": 20, "learning_rate": 1e-2})
    outcome = train(data, config, strength=0.0, seeds=[0])
    truth = data.validation.target * 2.0 + 10.0
    assert np.corrcoef(outcome.predictions["a"][0], truth)[0, 1] > 0.6
    assert abs(outcome.predictions["a"].mean() - truth.mean()) < 1.5


def test_an_encoder_refuses_a_shape_by_name():
    data = replace(world(), shapes=((7,), (4, 2)))
    with pytest.raises(UnsupportedShapeError, match=r"modality b: the mlp .* shape \(4, 2\)"):
        train(data, CONFIG, strength=0.0, seeds=[0])


@pytest.mark.parametrize("side", ["a", "b"])
def test_an_encoder_has_to_be_named_before(side):
    config = CONFIG.model_copy(update={f"encoder_{side}": "auto"})
    with pytest.raises(ValueError, match=f"modality {side}: the encoder is still auto: name it"):
        train(world(), config, strength=0.0, seeds=[0])


@pytest.mark.parametrize(
    ("device", "batch", "expected"),
    [("cpu", 256, 16), ("cpu", 512, 8), ("cpu", 4096, 1), ("cuda", 4096, 20), ("meta", 512, 20)],
)
def test_the_stack_size_is_a_rule_of_shapes(device, batch, expected):
    config = TrainingConfig(encoder_a="mlp", encoder_b="mlp", batch_size=batch)
    how = {"shapes": ((8,), (8,)), "on_cpu": device == "cpu"}
    assert stack_size(config, rows=4999, replicates=20, **how) == expected


LONG = {"rows": 70_000, "shapes": ((512,), (768,)), "on_cpu": True}


@pytest.mark.parametrize(
    ("hidden", "replicates", "expected"),
    [
        (128, 4, (4, 4)),
        (128, 12, (6, 6)),
        (128, 16, (8, 8)),
        (512, 12, (2, 2)),
        (2048, 12, (2, 2)),
    ],
)
def test_long_trials_are_divided_the_more_the_heavier_a_step_is(hidden, replicates, expected):
    """At width 128 a step has, by hand, 256 · (3 · 229,376 + 3 · 8,192 - 163,840) = .14 GFLOP."""
    config = TrainingConfig(encoder_a="mlp", encoder_b="mlp", hidden=hidden)
    how = LONG | {"replicates": replicates}
    assert (part_size(config, **how), stack_size(config, **how)) == expected


@pytest.mark.parametrize(
    ("changed", "config", "expected"),
    [
        ({"rows": 1300}, {}, 16),  # a short trial
        ({}, {"epochs": 1, "hidden": 16}, 16),  # as well
        ({"on_cpu": False}, {}, 16),
        ({}, {"encoder_a": "transformer"}, 1),
        ({"on_cpu": False}, {"encoder_a": "transformer"}, 16),
        ({"rows": 100}, {"encoder_b": "m:N"}, 1),
    ],
)
def test_what_gains_nothing_by_a_division_has_none(changed, config, expected):
    config = TrainingConfig(**{"encoder_a": "mlp", "encoder_b": "mlp"} | config)
    assert part_size(config, **LONG | {"replicates": 16} | changed) == expected


@given(
    st.integers(2, 10**6),
    st.integers(1, 4000),
    st.integers(1, 600),
    st.sampled_from([2, 64, 128, 700, 5000]),
    st.integers(1, 60),
)
def test_parts_are_of_whole_stacks(rows, features, replicates, batch, hidden):
    config = TrainingConfig(encoder_a="mlp", encoder_b="mlp", batch_size=batch, hidden=16 * hidden)
    how = {"rows": rows, "shapes": ((features,), (8,)), "replicates": replicates, "on_cpu": True}
    part, stack = part_size(config, **how), stack_size(config, **how)
    assert 1 <= stack <= min(part, max(1, 4096 // min(batch, rows)))
    assert part >= replicates or part % stack == 0


def test_parts_of_a_trial_are_trained_as_the_whole_is(monkeypatch):
    """To the last bit, if they are the stacks that it has anyway."""
    monkeypatch.setattr("tuner.models.training.stacks._PART_FLOPS", 1.0)
    monkeypatch.setattr("tuner.models.training.stacks._STACK_FLOPS", 1e5)
    data, seeds = world(), (5, 6, 7, 8)
    how = {"rows": data.train.count, "shapes": data.shapes, "replicates": 4, "on_cpu": True}
    size = part_size(CONFIG, **how)
    assert size == 2
    asked = {"strength": 0.5, "test": data.validation, "device": "cpu"}
    whole = train(data, CONFIG, seeds=seeds, **asked)
    parts = [
        train(data, CONFIG, seeds=seeds[n : n + size], among=seeds, **asked)
        for n in range(0, 4, size)
    ]
    told = together(parts)
    assert told.seconds == pytest.approx(sum(part.seconds for part in parts))
    for name in ("predictions", "test_predictions", "curves", "similarity", "similarity_null",
                 "together", "best_epoch", "weights"):  # fmt: skip
        np.testing.assert_equal(getattr(told, name), getattr(whole, name), err_msg=name)
    np.testing.assert_equal(vars(told.by_accuracy), vars(whole.by_accuracy))


def test_rows_without_negatives_are_not_aligned():
    data = world()
    alone = replace(data, train=replace(data.train, same=np.zeros(data.train.count, np.int64)))
    found = train(alone, CONFIG, strength=3.0, seeds=(1, 2))
    plain = train(data, CONFIG, strength=0.0, seeds=(1, 2))
    for modality in "ab":
        np.testing.assert_array_equal(found.predictions[modality], plain.predictions[modality])
    apart = replace(data, train=replace(data.train, same=np.arange(data.train.count)))
    one, other = (train(d, CONFIG, strength=3.0, seeds=(1, 2)) for d in (apart, data))
    np.testing.assert_array_equal(one.curves["alignment_loss"], other.curves["alignment_loss"])
    assert (one.curves["alignment_loss"] > 0).all()
    np.testing.assert_allclose(found.curves["alignment_loss"], 0, atol=1e-12)


def test_a_step_that_a_busy_machine_held_up_does_not_tell_how_long_one_takes(monkeypatch):
    """The second of all, the first that counts, takes 100 times as long as the others."""
    clock, taken = [0.0], [0.01, 1.0]

    def step(self, order):
        clock.append(clock[-1] + (taken.pop(0) if taken else 0.01))
        return torch.zeros(4)

    monkeypatch.setattr(_StackTraining, "_step", step)
    monkeypatch.setattr("time.perf_counter", lambda: clock[-1])
    told = seconds_a_step(world(), CONFIG, replicates=2, budget=0.5)
    assert told == pytest.approx(0.005)  # of each of two replicates, which share a step
    assert len(clock) == 1 + 1 + 5
