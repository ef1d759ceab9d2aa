"""Teachers behind a server or recorded from one fill the same store as a model that runs here."""

import dataclasses
import json
import math
import os
import shutil
import signal
import time

import pyarrow
import pyarrow.parquet
import pytest
import torch
from scoring_server import Scorer, serving

from gwfast_llm.cache import main as cache
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, ObjectiveConfig, SourceConfig, TrainConfig
from gwfast_llm.inspect import main as inspect
from gwfast_llm.models.loading import load_tokenizer
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers.served import server as serving_module
from gwfast_llm.teachers.served.answers import NoAnswer, Scored, read_entries, signal_of
from gwfast_llm.teachers.served.recorded import Recorded
from gwfast_llm.teachers.served.server import Server
from gwfast_llm.teachers.served.source import ServedSource
from gwfast_llm.text.examples import Encoded, Example, encode_all
from gwfast_llm.text.reading import write_examples
from gwfast_llm.tiny.tasks import draw_each
from gwfast_llm.training.fusion import fuse
from gwfast_llm.training.sources import online_source

K = 12


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(serving_module, "FIRST_WAIT", 0.05)


@pytest.fixture(scope="module")
def tokenizer(home):
    return load_tokenizer(ModelConfig(str(home / "A")))


@pytest.fixture(scope="module")
def rows(examples, tokenizer):
    return encode_all(examples[:6], tokenizer)


def close_to(found, expected):
    torch.testing.assert_close(found.gold, expected.gold, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.kept.ids, expected.kept.ids)
    torch.testing.assert_close(found.kept.log_probs, expected.kept.log_probs, rtol=1e-4, atol=1e-4)
    assert (found.kept.logsumexp == 0).all()


@pytest.mark.parametrize(("way", "options"), [("vllm", {}), ("ids", {}), ("vllm", {"adds": 3}), ("ids", {"adds": 3})])
def test_what_is_served_is_what_the_model_says(home, tokenizer, rows, way, options, monkeypatch):
    """Whichever way the server is asked, also where it puts a mark of its own before every prompt."""
    if options:
        monkeypatch.setattr(type(tokenizer), "bos_token_id", 3, raising=False)
    local = online_source(SourceConfig(str(home / "A"), name="A"), tokenizer, rows, K)
    begun = (
        rows
        if not options
        else [dataclasses.replace(r, ids=[3, *r.ids], prompt_length=r.prompt_length + 1) for r in rows]
    )
    local.rows = begun
    with serving(home / "A", way, fails=2, **options) as url:
        asked = ServedSource("A", tokenizer, rows, K, Server(url, "A", tokenizer, K, wait=0.05))
        for found, expected in zip(asked.signals(range(6)), local.signals(range(6)), strict=True):
            close_to(found, expected)


def test_a_server_that_takes_text_only_is_compared_token_by_token(home, tokenizer):
    """Tokens that several ids are written as are left to the tail."""
    whole = tokenizer("M: the", add_special_tokens=False)["input_ids"]
    row = Encoded(list(whole), 1, [0] * (len(whole) - 1))
    scorer = Scorer(home / "A", "text")

    class Here(Server):
        def _post(self, body):
            status, found = scorer.answer(body)
            if status != 200:
                raise NoAnswer(str(found))
            return found

    asked = Here("http://nowhere", "A", tokenizer, K)
    (scored,) = asked.scored([row])
    assert asked._way == ("echo", False)
    found = signal_of(row, scored, K, len(tokenizer), None)
    expected = scorer.entries(row.ids, K)
    for t, gold in enumerate(found.gold.tolist(), 1):
        assert gold == pytest.approx(expected[t][row.ids[t]], abs=1e-4)
        for i, value in zip(found.kept.ids[t - 1].tolist(), found.kept.values[t - 1].tolist(), strict=True):
            assert value == -math.inf or value == pytest.approx(expected[t][i], abs=1e-4)
    assert torch.isfinite(found.kept.values).any(-1).all()
    word = max((tokenizer.decode([i]) for i in range(1, len(tokenizer))), key=len)
    letters = [i for letter in word for i in tokenizer(letter, add_special_tokens=False)["input_ids"]]
    assert len(letters) > len(tokenizer(word, add_special_tokens=False)["input_ids"])  # as the server cuts it
    other = Encoded([*whole[:2], *letters], 2, [1] * len(letters))
    with pytest.raises(FusionError, match=r"echo with text: .*(cuts another|tokens came back)"):
        Here("http://nowhere", "A", tokenizer, K).scored([other])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"most": 5},
            "allows 5 log-probabilities a token, objective.source_top_k is 12; use --objective.source_top_k 5",
        ),
        (
            {"way": "chat"},
            "gives no log-probabilities of prompts: prompt_logprobs: the answer holds no prompt_logprobs",
        ),
        ({"fails": 99}, r"did not answer in 6 tries \(.*loading.*what is cached so far is kept"),
    ],
)
def test_a_server_that_cannot_answer_is_one_line(home, tokenizer, rows, options, message, monkeypatch):
    scorer = Scorer(home / "A", options.pop("way", "vllm"), **options)
    if scorer.way == "chat":
        scorer.answer = lambda body: (200, {"choices": [{"index": 0, "text": "hello"}]})

    def answer(request, data=None, timeout=None):
        import io
        import urllib.error

        status, found = scorer.answer(json.loads(request.data))
        sent = io.BytesIO(json.dumps(found).encode())
        if status != 200:
            raise urllib.error.HTTPError(request.full_url, status, "no", {}, sent)
        return sent

    monkeypatch.setattr("urllib.request.urlopen", lambda request, timeout: answer(request))
    with pytest.raises(FusionError, match=message):
        Server("http://127.0.0.1:9/v1", "A", tokenizer, K, wait=0.001).scored(rows[:1])


def test_what_does_not_fit_the_example_is_refused():
    row = Encoded([1, 2, 3], 1, [1, 2])
    good = {2: -0.5, 4: -1.5}, {3: -0.5, 4: -1.5}
    assert signal_of(row, Scored([None, *good], [1, 2, 3]), 2, 9, None).kept.ids.tolist() == [[2, 4], [3, 4]]
    for entries, ids, message in (
        ([None, *good], [1, 2, 5], "first at position 2"),
        ([None, {4: -1.0, 5: -2.0}, good[1]], None, "position 1 has no log-probability of its own token 2"),
        ([None, {2: -0.5}, good[1]], None, "has 1 log-probabilities, objective.source_top_k is 2"),
        ([None, {2: -0.5, 9: -2.0}, good[1]], None, "names token 9; the tokenizer has 9"),
        ([None, {2: 0.5, 4: -2.0}, good[1]], None, "as a log-probability"),
        ([None, {2: -0.1, 4: -0.1}, good[1]], None, "sum to 1.810"),
        ([None, *good, good[0], good[1], good[1]], None, "read 6 tokens"),
    ):
        with pytest.raises(NoAnswer, match=message):
            signal_of(row, Scored(entries, ids), 2, 9, None)
    for bad in ("x", [], [None, 3], [None, {"a": 1}], [None, [{"logprob": 1}]]):
        with pytest.raises(NoAnswer):
            read_entries(bad)


def config_of(home, tmp_path, source, **objective):
    return FuseConfig(
        ModelConfig(str(home / "pivot")),
        DataConfig(str(home / "train.jsonl"), max_length=96, end_token=False),
        [source],
        ObjectiveConfig(**{"source_top_k": K, **objective}),
        TrainConfig(steps=3, batch_size=4, lr=1e-2, log_every=1, diagnose=0, samples=0),
    )


def flags(config, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(config.as_dict()))
    return ["--config", str(path), "--dtype", "float32"]


def quiet(done, total):
    pass


def test_served_stored_and_far_away_give_the_same_fusion(home, tmp_path, capfd):
    """From a server, from a model that runs here, and from the cache of one that is gone."""
    copy = tmp_path / "teacher"
    shutil.copytree(home / "A", copy)
    stored = config_of(home, tmp_path, SourceConfig(str(copy), name="A", cache=str(tmp_path / "stored")))
    assert cache(flags(stored, tmp_path)) == 0
    here = fuse(stored, quiet)
    shutil.rmtree(copy)
    assert inspect(flags(stored, tmp_path)[:2]) == 0
    assert "source A: its weights are not here" in capfd.readouterr().out
    gone = fuse(stored, quiet)
    assert cache(flags(stored, tmp_path)) == 0  # whole: nothing is missing
    with serving(home / "A") as url:
        source = SourceConfig(str(home / "A"), name="A", cache=str(tmp_path / "served"), served=url)
        served = config_of(home, tmp_path, source)
        assert cache(flags(served, tmp_path)) == 0
    there = fuse(served, quiet)
    for name, value in here.model.state_dict().items():
        assert torch.equal(gone.model.state_dict()[name], value)
        torch.testing.assert_close(there.model.state_dict()[name], value, rtol=0, atol=1e-5)
    raw = config_of(home, tmp_path, source, preset="infigfusion", gld_raw=True)
    with pytest.raises(FusionError, match="gld works on raw logits, and source A was served as log-probabilities"):
        fuse(raw, quiet)
    usable = config_of(home, tmp_path, source, preset="infigfusion")
    assert all(math.isfinite(row["gld"]) for row in fuse(usable, quiet).metrics if "gld" in row)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_recorded_answers_are_found_by_their_tokens(home, tokenizer, rows, tmp_path, kind):
    scorer = Scorer(home / "A", "vllm")
    records = []
    for row in rows[::-1]:
        entries = [e and {str(i): {"logprob": v} for i, v in e.items()} for e in scorer.entries(row.ids, K)]
        records.append({"prompt_token_ids": row.ids, "prompt_logprobs": json.dumps(entries)})
    path = tmp_path / f"out.{kind}"
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    else:
        path.write_text("\n\n".join(json.dumps(r) for r in records))
    local = online_source(SourceConfig(str(home / "A"), name="A"), tokenizer, rows, K)
    asked = ServedSource("A", tokenizer, rows, K, Recorded(str(tmp_path), None))
    for found, expected in zip(asked.signals(range(6)), local.signals(range(6)), strict=True):
        close_to(found, expected)
    other = ServedSource(
        "A", tokenizer, [dataclasses.replace(rows[0], ids=[1, *rows[0].ids])], K, Recorded(str(path), None)
    )
    with pytest.raises(FusionError, match="source A: examples 0 to 0: no record has its"):
        other.signals([0])
    (tmp_path / "bad.jsonl").write_text('{"a": 1}')
    with pytest.raises(FusionError, match=r"bad\.jsonl: the line at byte 0 has no prompt_token_ids"):
        Recorded(str(tmp_path / "bad.jsonl"), None)


def test_killed_caching_from_a_server_goes_on_and_recorded_answers_give_the_same_bytes(home, tmp_path):
    """kill -9 after the first of two shards: it stays as it is, and the rest is asked for."""
    examples = [Example(p.prompt, p.response) for p in draw_each("D", 300, seed=7)]
    write_examples(tmp_path / "train.jsonl", examples)

    def made(folder, served):
        source = SourceConfig(str(home / "A"), name="A", cache=str(tmp_path / folder), served=served)
        base = config_of(home, tmp_path, source, preset="custom", uld=1.0)
        return dataclasses.replace(base, data=dataclasses.replace(base.data, train=str(tmp_path / "train.jsonl")))

    assert cache([*flags(made("none", str(tmp_path)), tmp_path), "--prompts", str(tmp_path / "prompts")]) == 0
    scorer = Scorer(home / "A", "vllm")
    with (tmp_path / "recorded.jsonl").open("w") as file:
        for line in (tmp_path / "prompts" / "A.jsonl").read_text().splitlines():
            ids = json.loads(line)["prompt_token_ids"]
            file.write(json.dumps({"prompt_token_ids": ids, "prompt_logprobs": scorer.entries(ids, K)}) + "\n")
    with serving(home / "A") as url:
        for folder, served in (("server", url), ("file", str(tmp_path / "recorded.jsonl"))):
            config = made(folder, served)
            first = tmp_path / folder / "shard-00000.safetensors"
            child = os.fork()
            if child == 0:
                try:
                    cache(flags(config, tmp_path))
                finally:
                    os._exit(0)
            deadline = time.monotonic() + 60
            while not (tmp_path / folder / "manifest.json").exists() and time.monotonic() < deadline:
                time.sleep(0.002)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            before = first.read_bytes(), first.stat().st_mtime_ns
            assert cache(flags(config, tmp_path)) == 0
            assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert cache(flags(made("whole", str(tmp_path / "recorded.jsonl")), tmp_path)) == 0
    for shard in ("shard-00000.safetensors", "shard-00001.safetensors"):
        assert (tmp_path / "whole" / shard).read_bytes() == (tmp_path / "file" / shard).read_bytes()
