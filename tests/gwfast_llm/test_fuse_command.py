"""The whole command, as a user runs it, at a tiny setting."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from gwfast_llm.reports import pages, plots, run_report
from gwfast_llm.reports.scores import Score
from gwfast_llm.system.errors import FusionError
from gwfast_llm.text.reading import read_examples
from gwfast_llm.tiny.default import Place, finished


def command(*arguments, cache, **environment):
    env = {**os.environ, "GWFAST_CACHE": str(cache), "HF_HUB_OFFLINE": "1", **environment}
    return [sys.executable, "-m", "gwfast_llm.fuse", *map(str, arguments)], env


def run(*arguments, cache):
    line, env = command(*arguments, cache=cache)
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=300, check=False)


def started(*arguments, cache):
    """The command at work."""
    line, env = command(*arguments, cache=cache)
    return subprocess.Popen(
        line,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in the background
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """One finished smoke run: its runs folder, its cache and what it printed."""
    home = tmp_path_factory.mktemp("smoke")
    started = time.monotonic()
    done = run("--size", "smoke", "--runs", home / "runs", cache=home / "cache")
    assert done.returncode == 0, done.stderr
    return home, done, time.monotonic() - started


def test_smoke_run_leaves_a_model_that_loads(smoke):
    home, done, seconds = smoke
    folder = home / "runs" / "tiny-001"
    assert seconds < 120
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    example = read_examples(folder / "data" / "test.jsonl")[0]
    batch = tokenizer(example.prompt, return_tensors="pt")
    made = model.generate(input_ids=batch["input_ids"], max_new_tokens=5, do_sample=False)
    assert made.shape[1] > batch["input_ids"].shape[1]
    assert tokenizer.decode(tokenizer(example.prompt + example.response)["input_ids"]) == (
        example.prompt + example.response
    )
    assert "lowest text excess" in done.stdout


def test_smoke_run_leaves_records_and_plots(smoke):
    home, _, _ = smoke
    folder = home / "runs" / "tiny-001"
    config = json.loads((folder / "config.json").read_text())
    assert config["size"] == "smoke"
    # through stores and checkpoints, as any other fusion; the stores are left behind by nobody
    assert all(source["cache"] for run in config["fusions"].values() for source in run["sources"])
    assert all(run["train"]["save_every"] for run in config["fusions"].values())
    assert not (folder / "cache").exists()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    names = {row["objective"] for row in rows if "loss" in row}
    assert names == {"sft_short", "sft", "infigfusion", "path"}
    intervals = [row for row in rows if "gw_lower" in row]
    assert {row["objective"] for row in intervals} == names
    assert all(0 <= row["gw_lower"] <= row["gw_upper"] for row in intervals)
    starts = [row["gw_upper"] for row in intervals if row["step"] == 0]
    assert len(starts) == 4
    assert max(starts) == pytest.approx(min(starts), rel=1e-6)  # the same pivot before every objective
    scores = [row for row in rows if "score" in row]
    assert {row["contender"] for row in scores} == names | {"pivot before", "source A", "source B"}
    page = (folder / "report.md").read_text()
    for picture in ("losses.png", "interval.png", "scores.png"):
        assert picture in page
        assert (folder / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert not list((home / "runs").glob(".*"))
    assert ".tiny-001" not in (folder / "config.json").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
@pytest.mark.nightly  # two runs, a minute; what stops and goes on is tested in parts
def test_second_run_finds_models_in_the_cache_is_stopped_goes_on_and_repeats_the_numbers(smoke):
    home, _, _ = smoke
    built = {p: p.stat().st_mtime for p in (home / "cache").rglob("*.safetensors")}
    assert len(built) == 3
    flags = ("--size", "smoke", "--runs", home / "runs", "--name", "again")
    process = started(*flags, cache=home / "cache")
    work = home / "runs" / ".again.unfinished"
    deadline = time.monotonic() + 200
    while not list(work.glob("results/*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    found = re.search(
        r"stopped; the results of (\d) fusions.* kept in .*again\.unfinished: the same command with --resume", said
    )
    assert found, said
    results = {p: p.stat().st_mtime for p in work.glob("results/*.json")}
    assert len(results) == int(found.group(1))
    refused = run(*flags, cache=home / "cache")
    assert refused.returncode == 2
    assert "--resume goes on with it, --overwrite starts anew" in refused.stderr
    done = run(*flags, "--resume", cache=home / "cache")
    assert done.returncode == 0, done.stderr
    assert {p: p.stat().st_mtime for p in (home / "cache").rglob("*.safetensors")} == built

    def numbers(name):
        rows = map(json.loads, (home / "runs" / name / "metrics.jsonl").read_text().splitlines())
        return [row for row in rows if "score" in row or "loss" in row]

    assert numbers("again") == numbers("tiny-001")
    names = {p.name for p in (home / "runs" / "tiny-001").iterdir()}
    assert {p.name for p in (home / "runs" / "again").iterdir()} == names


def test_the_report_of_a_comparison_fails_alone_and_is_made_again(smoke, tmp_path, monkeypatch):
    folder = shutil.copytree(smoke[0] / "runs" / "tiny-001", tmp_path / "r")
    page = (folder / "report.md").read_text()
    for name in ("report.md", "scores.png"):
        (folder / name).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(plots, "plot_scores", None)
        patch.setattr(pages, "embedded_page", None)
        complaints = run_report.draw(folder)
    assert [line.split(" could not be made (TypeError")[0] for line in complaints] == ["scores.png", "report.md"]
    assert run_report.draw(folder) == []
    assert (folder / "report.md").read_text() == page
    assert (folder / "scores.png").is_file()


def test_a_fusion_is_taken_from_its_result_or_told_to_be_damaged(tmp_path):
    place = Place(tmp_path / "results" / "path-0.json", tmp_path / "checkpoints", None)
    assert finished(place) is None
    place.result.parent.mkdir()
    place.result.write_text(
        json.dumps({"metrics": [], "scores": [{"task": "M", "kind": "x", "value": 1.0}], "seconds": 2})
    )
    assert finished(place) == ([], [Score("M", "x", 1.0)], 2.0)
    for content in ("", "[]", "{}", '{"metrics": [], "scores": 3, "seconds": 1}', '{"metrics": [], "scores": [3]}'):
        place.result.write_text(content)
        with pytest.raises(FusionError, match=r"path-0\.json"):
            finished(place)


def test_existing_run_folder_is_refused_and_left_alone(smoke):
    home, _, _ = smoke
    before = sorted(p.name for p in (home / "runs" / "tiny-001").iterdir())
    done = run("--size", "smoke", "--runs", home / "runs", "--name", "tiny-001", cache=home / "cache")
    assert done.returncode == 2
    assert done.stderr.startswith("error: run folder")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(p.name for p in (home / "runs" / "tiny-001").iterdir()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing_half_written(tmp_path, how):
    process = started("--runs", tmp_path / "runs", cache=tmp_path / "cache")
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        assert "building" in first
        time.sleep(1)
        process.send_signal(how)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()  # a test that fails leaves no run behind
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert "stopped; nothing had been made yet that could be gone on from, so no folder is left" in rest
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "huge"], "--size is 'huge'; expected one of default, smoke"),
        (["--seeds", "-1"], "--seeds is -1"),
        (["--name", "a/b"], "not a plain folder name"),
        (["--bogus", "3"], "--bogus"),
        (["--train.lr", "-1"], "train.lr is -1.0; expected a positive number"),
        (["--train.lr", "1"], "give --pivot.model"),
        (["--objective.preset", "foo"], "objective.preset"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--pivot.model", "x"], "--data.train is missing"),
        (["--pivot.model", "x", "--data.train", "y"], "there are no sources"),
        (["--pivot.model", "./x", "--data.train", "y", "--objective.preset", "sft"], "./x does not exist"),
    ],
)
def test_mistakes_get_one_line(arguments, message, tmp_path, capsys, monkeypatch):
    from gwfast_llm.fuse import main

    monkeypatch.chdir(tmp_path)
    assert main([*arguments]) == 2
    found = capsys.readouterr().err
    assert found.startswith("error: ")
    assert message in found
    assert len(found.splitlines()) == 1
    assert not list(tmp_path.rglob("config.json"))
