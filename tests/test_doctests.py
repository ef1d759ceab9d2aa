"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil

import pytest

import gwfast

MODULES = [m.name for m in pkgutil.walk_packages(gwfast.__path__, "gwfast.") if m.name != "gwfast.__main__"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_the_front_doors_have_examples():
    finder = doctest.DocTestFinder()
    for door in (gwfast.sorted_gw, gwfast.exact_gw, gwfast.entropic_gw, gwfast.lower_bound, gwfast.certify):
        assert any(test.examples for test in finder.find(door, globs={})), door.__name__
