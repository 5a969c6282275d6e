"""What a step consists of: the same by whichever library computes it."""

import numpy as np
import pytest
import threadpoolctl
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuner.models.compute.device import numpy_computes, prepare_process
from tuner.models.compute.kernels import exp_, product
from tuner.models.encoders.stacked import StackedMLP, unstack


@pytest.fixture(autouse=True, params=[1, 2], ids=["NumPy", "torch"])
def threads(request):
    """One thread is NumPy's to use; of several, torch has those that it wants."""
    prepare_process(request.param)
    yield request.param
    prepare_process()


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_a_process_of_one_thread_computes_with_numpy_on_one_core(threads):
    assert numpy_computes(torch.device("cpu")) == (threads == 1)
    assert not numpy_computes(torch.device("cuda"))
    blas = [one for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]
    assert {one["num_threads"] for one in blas} == {threads}
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 3, 65])
@pytest.mark.parametrize("columns", [1, 10, 64])
def test_products_of_every_layout(dtype, rows, columns):
    a, b = draw(4, rows, 7, dtype=dtype), draw(4, 7, columns, dtype=dtype, seed=1)
    expected = torch.einsum("kij,kjl->kil", a, b)
    turned = a.mT.contiguous().mT, b.mT.contiguous().mT
    for left in (a, turned[0]):
        for right in (b, turned[1]):
            torch.testing.assert_close(product(left, right), expected)
    shown = a[:1].expand(4, -1, -1)  # as validation rows are
    torch.testing.assert_close(product(shown, b), torch.einsum("ij,kjl->kil", a[0], b))


def test_what_is_not_a_number_stays_so_without_a_warning():
    a = torch.tensor([[[torch.inf, 1.0]]])
    assert product(a, torch.tensor([[[0.0], [1.0]]])).isnan().all()
    assert exp_(torch.tensor([1e4])).isinf().all()
    assert exp_(torch.tensor([torch.nan])).isnan().all()


@given(values=st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=40))
def test_exponentials_have_the_precision_of_their_type(values):
    exact = np.exp(np.array(values, dtype=np.float64))
    np.testing.assert_allclose(exp_(torch.tensor(values, dtype=torch.float32)), exact, rtol=4e-7)


@pytest.mark.parametrize("widths", [(5, 3), (5, 4, 3), (5, 4, 6, 3)])
def test_an_mlp_and_its_gradients_are_those_of_its_replicates(widths):
    torch.set_default_dtype(torch.float64)
    try:
        stacked = StackedMLP(widths, [torch.Generator().manual_seed(seed) for seed in range(3)])
        alone = [unstack(stacked, replicate) for replicate in range(3)]
    finally:
        torch.set_default_dtype(torch.float32)
    x, weights = draw(3, 7, widths[0]).requires_grad_(), draw(3, 7, widths[-1], seed=1)
    inputs = [x, *stacked.parameters()]
    ours = torch.autograd.grad((stacked(x) * weights).sum(), inputs)
    each = [net(rows) for net, rows in zip(alone, x, strict=True)]
    torch.testing.assert_close(stacked(x), torch.stack(each))
    loss = (torch.stack(each) * weights).sum()
    parameters = [p for net in alone for p in net.parameters()]
    of_x, *theirs = torch.autograd.grad(loss, [x, *parameters])
    torch.testing.assert_close(ours[0], of_x)
    per_net = len(theirs) // 3
    for place, mine in enumerate(ours[1:]):
        single = torch.stack(theirs[place::per_net])
        torch.testing.assert_close(mine, single.mT if place % 2 == 0 else single[:, None])


def test_an_mlp_leaves_its_inputs_and_the_gradient_that_comes_in_as_they_are():
    stacked = StackedMLP((4, 5, 5, 3), [torch.Generator().manual_seed(0)])
    x, grad = draw(1, 6, 4, dtype=torch.float32), draw(1, 6, 3, dtype=torch.float32)
    kept = x.clone(), grad.clone()
    stacked(x).backward(grad)
    torch.testing.assert_close((x, grad), kept, rtol=0, atol=0)
