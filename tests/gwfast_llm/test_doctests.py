"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil

import pytest

import gwfast_llm

MODULES = [module.name for module in pkgutil.walk_packages(gwfast_llm.__path__, "gwfast_llm.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0
