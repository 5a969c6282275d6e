"""Garbage is looked for less often while modules are loaded, and as before after it."""

import gc

import pytest

from tuner.execution.garbage import loading


def test_after_loading_garbage_is_looked_for_as_before():
    before = gc.get_threshold()
    with pytest.raises(ImportError), loading():  # noqa: PT012
        assert gc.get_threshold() > before
        raise ImportError
    assert gc.get_threshold() == before
