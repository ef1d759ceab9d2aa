"""Rules about the shape of the code."""

import subprocess
import sys


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_gwfast_imports_neither_torch_nor_pot():
    assert run("import sys, gwfast; print([m for m in ('torch', 'ot', 'matplotlib') if m in sys.modules])") == "[]"


def test_public_names_are_listed():
    import gwfast

    public = {n for n in vars(gwfast) if not n.startswith("_")}
    modules = {n for n in public if type(getattr(gwfast, n)).__name__ == "module"}
    assert public - modules == set(gwfast.__all__) - {"__version__"}


def test_every_public_name_of_gwfast_llm_is_there():
    assert (
        run("import gwfast_llm; print([n for n in gwfast_llm.__all__ if getattr(gwfast_llm, n, None) is None])") == "[]"
    )
