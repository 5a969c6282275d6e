import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tuner.models import alignment
from tuner.models.alignment import symmetric_info_nce


def by_cross_entropy(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """The textbook form, one replicate at a time."""
    losses = []
    for one_a, one_b in zip(a, b, strict=True):
        similarity = one_a @ one_b.T / temperature
        own = torch.arange(len(one_a))
        losses.append(
            (
                functional.cross_entropy(similarity, own)
                + functional.cross_entropy(similarity.T, own)
            )
            / 2
        )
    return torch.stack(losses)


def projections(replicates: int, rows: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, replicates, rows, width)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    a, b = functional.normalize(drawn, dim=-1)
    return a.requires_grad_(), b.requires_grad_()


@settings(max_examples=40, deadline=None)
@given(
    replicates=st.integers(1, 4),
    rows=st.integers(1, 40),
    width=st.integers(1, 9),
    temperature=st.floats(0.005, 5),
    seed=st.integers(0, 99),
)
def test_value_and_gradient_are_those_of_cross_entropy(replicates, rows, width, temperature, seed):
    a, b = projections(replicates, rows, width, seed)
    weights = torch.arange(1.0, replicates + 1, dtype=torch.float64)  # a gradient per replicate
    ours = symmetric_info_nce(a, b, temperature=temperature)
    theirs = by_cross_entropy(a, b, temperature)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    ours_grads = torch.autograd.grad((ours * weights).sum(), (a, b))
    theirs_grads = torch.autograd.grad((theirs * weights).sum(), (a, b))
    torch.testing.assert_close(ours_grads, theirs_grads, rtol=1e-8, atol=1e-8)


def naive_without_same(a: Tensor, b: Tensor, temperature: float, same: Tensor) -> Tensor:
    """The textbook form with rows left out, each in turn."""
    losses = []
    for one_a, one_b, codes in zip(a, b, same.tolist(), strict=True):
        terms = []
        for i in range(len(codes)):
            kept = [j for j in range(len(codes)) if j == i or codes[j] != codes[i]]
            own = torch.tensor(kept.index(i))
            terms += [
                functional.cross_entropy(one @ other[kept].T / temperature, own)
                for one, other in ((one_a[i], one_b), (one_b[i], one_a))
            ]
        losses.append(torch.stack(terms).mean())
    return torch.stack(losses)


@settings(max_examples=40, deadline=None)
@given(
    replicates=st.integers(1, 3),
    rows=st.integers(1, 20),
    temperature=st.floats(0.005, 5),
    seed=st.integers(0, 99),
)
def test_rows_that_are_the_same_are_no_negatives(replicates, rows, temperature, seed):
    a, b = projections(replicates, rows, 4, seed)
    same = torch.randint(0, 6, (replicates, rows), generator=torch.Generator().manual_seed(seed))
    ours = symmetric_info_nce(a, b, temperature=temperature, same=same)
    theirs = naive_without_same(a, b, temperature, same)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    ours_grads = torch.autograd.grad(ours.sum(), (a, b))
    theirs_grads = torch.autograd.grad(theirs.sum(), (a, b))
    torch.testing.assert_close(ours_grads, theirs_grads, rtol=1e-8, atol=1e-8)


@settings(max_examples=60, deadline=None)
@given(
    replicates=st.integers(1, 3),
    rows=st.integers(1, 24),
    temperature=st.floats(0.005, 5),
    strip=st.integers(1, 5000),
    groups=st.sampled_from([None, 1, 6]),
    seed=st.integers(0, 99),
)
def test_strips_of_any_size_give_the_same(replicates, rows, temperature, strip, groups, seed):
    a, b = projections(replicates, rows, 4, seed)
    weights = torch.arange(1.0, replicates + 1, dtype=torch.float64)
    same, theirs = None, by_cross_entropy(a, b, temperature)
    if groups is not None:
        generator = torch.Generator().manual_seed(seed)
        same = torch.randint(0, groups, (replicates, rows), generator=generator)
        theirs = naive_without_same(a, b, temperature, same)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "_MATRIX_BYTES", 0)
        patch.setattr(alignment, "_STRIP_BYTES", strip)
        ours = symmetric_info_nce(a, b, temperature=temperature, same=same)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    ours_grads = torch.autograd.grad((ours * weights).sum(), (a, b))
    theirs_grads = torch.autograd.grad((theirs * weights).sum(), (a, b))
    torch.testing.assert_close(ours_grads, theirs_grads, rtol=1e-8, atol=1e-8)


def test_memory_grows_with_the_rows_not_with_their_square(monkeypatch):
    """Strips are asked for from a size on that does not depend on what is to be trained."""
    strips = []
    whole = alignment._StripInfoNCE.apply
    monkeypatch.setattr(
        alignment._StripInfoNCE, "apply", lambda *given: strips.append(1) or whole(*given)
    )
    monkeypatch.setattr(alignment, "_MATRIX_BYTES", 64**2 * 8)
    for rows, expected in ((64, 0), (65, 1)):
        a, b = projections(2, rows, 3, 0)
        symmetric_info_nce(a, b, temperature=0.1)
        assert len(strips) == expected


@pytest.mark.parametrize("rows", [64, 512])  # below and above what shares one call
def test_float32_keeps_six_digits(rows):
    a, b = (side.detach().float() for side in projections(3, rows, 32, 0))
    ours = symmetric_info_nce(a, b, temperature=0.07)
    theirs = by_cross_entropy(a.double(), b.double(), 0.07)
    torch.testing.assert_close(ours.double(), theirs, rtol=2e-6, atol=0)


@pytest.mark.parametrize("temperature", [0.1, 0.02, 0.019, 0.001])
def test_opposed_pairs_stay_finite_in_float32(temperature):
    a = functional.normalize(torch.ones(1, 8, 4), dim=-1).requires_grad_()
    loss = symmetric_info_nce(a, -a.detach(), temperature=temperature)
    loss.sum().backward()
    # All similarities are equal: every pair is as likely as every other.
    torch.testing.assert_close(loss, torch.tensor([8.0]).log(), rtol=1e-4, atol=1e-4)
    assert torch.isfinite(a.grad).all()


def test_perfect_alignment_of_orthogonal_rows_has_the_closed_form():
    a = torch.eye(6).unsqueeze(0)
    expected = torch.log(torch.exp(torch.tensor(10.0)) + 5) - 10
    loss = symmetric_info_nce(a, a, temperature=0.1)
    torch.testing.assert_close(loss[0], expected, rtol=1e-3, atol=1e-6)


def test_it_is_symmetric_in_the_modalities_and_blind_to_row_order():
    a, b = projections(2, 30, 5, 3)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    loss = symmetric_info_nce(a, b, temperature=0.2)
    torch.testing.assert_close(symmetric_info_nce(b, a, temperature=0.2), loss)
    torch.testing.assert_close(symmetric_info_nce(a[:, order], b[:, order], temperature=0.2), loss)
