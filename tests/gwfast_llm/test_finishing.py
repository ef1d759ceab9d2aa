"""The end of a run: the model first, then pictures and page, each of which may fail alone."""

import errno
import json
import os
import shutil
import signal
import sys

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from gwfast_llm.report import main as report_command
from gwfast_llm.reports import pages, plots, run_report
from gwfast_llm.system.errors import FusionError
from gwfast_llm.training import gather

PURE = {"preset": "custom", "sft": 0.0, "path": 1.0, "source_top_k": 0}


def fails(*arguments, **options):
    raise KeyError("sft")


def test_distillation_alone_has_a_page(fuse_here, tmp_path):
    code, said = fuse_here(objective=PURE, log_every=2)
    assert code == 0, said
    page = (tmp_path / "runs" / "r" / "report.md").read_text()
    assert "Objective 1 path (custom)" in page
    assert "![losses](losses.png)" in page


@pytest.fixture
def run(whole_run, tmp_path):
    """A finished run."""
    return shutil.copytree(whole_run, tmp_path / "runs" / "r")


@pytest.mark.parametrize("left_out", [("sft",), ("path",), ("loss",), ("loss", "sft", "path", "eval_loss", "gw_upper")])
def test_every_objective_has_pictures_and_page_without_warnings(run, left_out):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = (json.dumps({name: value for name, value in row.items() if name not in left_out}) for row in rows)
    (run / "metrics.jsonl").write_text("\n".join(lines))
    assert run_report.draw(run) == []
    said = "no loss was logged: train.log_every is above train.steps" in (run / "report.md").read_text()
    assert said == ("loss" in left_out)


@pytest.mark.parametrize(
    ("module", "name", "what"),
    [
        (plots, "plot_losses", "losses.png"),
        (plots, "plot_interval", "interval.png"),
        (pages, "fusion_page", "report.md"),
        (run_report, "_fusion", "pictures and page"),
    ],
)
def test_what_fails_fails_alone(run, monkeypatch, module, name, what):
    for path in [*run.glob("*.png"), run / "report.md"]:
        path.unlink()
    monkeypatch.setattr(module, name, fails)
    assert run_report.draw(run) == [
        f"{what} could not be made (KeyError: 'sft'); the model is not touched by that: "
        f"python -m gwfast_llm.report {run} makes pictures and page again"
    ]
    expected = set() if name == "_fusion" else {"losses.png", "interval.png", "report.md"} - {what}
    assert expected == {path.name for path in run.iterdir() if path.suffix in (".png", ".md")}
    if what == "losses.png":
        assert "losses.png" not in (run / "report.md").read_text()


def test_a_failing_picture_does_not_cost_the_model(fuse_here, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "plot_losses", fails)
    code, said = fuse_here(log_every=2)
    run = tmp_path / "runs" / "r"
    assert code == 0
    assert "warning: losses.png could not be made (KeyError: 'sft'); the model is not touched by that" in said
    assert AutoModelForCausalLM.from_pretrained(run / "model").config.hidden_size == 16
    assert AutoTokenizer.from_pretrained(run / "model")("a")["input_ids"]
    assert (run / "report.md").is_file()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["r"]


def test_pictures_and_page_are_made_again_from_what_is_on_the_disk(run, tmp_path, capfd):
    page = (run / "report.md").read_text()
    for name in ("report.md", "losses.png", "interval.png"):
        (run / name).unlink()
    assert report_command([str(run)]) == 0
    assert (run / "report.md").read_text() == page
    assert (run / "losses.png").read_bytes()[:4] == b"\x89PNG"
    assert (run / "interval.png").is_file()
    capfd.readouterr()
    for content in ("", "{", "[]", '{"kind": 3}', "[" * 10**5):
        (run / "run.json").write_text(content)
        assert report_command([str(run)]) == 1
        said = capfd.readouterr().out
        assert "could not be made" in said
        assert (
            content == '{"kind": 3}' or "copy the file from where it is whole; then python -m gwfast_llm.report" in said
        )
        assert len(said.splitlines()) == 1, said
    (run / "run.json").unlink()
    assert report_command([str(run)]) == 2
    assert "holds no run.json; give the folder of a finished run" in capfd.readouterr().err
    assert report_command([str(tmp_path / "nowhere")]) == 2


def test_records_model_and_tokenizer_that_cannot_save_themselves_leave_the_weights(fuse_here, tmp_path, monkeypatch):
    def invalid(*arguments, **options):
        raise ValueError("the generation config is invalid")

    def broken(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(run_report, "write_records", broken)
    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", invalid)
    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.save_pretrained", invalid)
    code, said = fuse_here(steps=2)
    assert code == 0
    assert "warning: the records of the run could not be written (OSError" in said
    assert "warning: the model's own way to save failed (the generation config is invalid)" in said
    run = tmp_path / "runs" / "r"
    advice = f"copy the pivot's tokenizer files to {run / 'model'}"
    assert f"warning: the tokenizer could not be saved (the generation config is invalid); {advice}" in said
    assert f"warning: {run} holds no run.json: there is no report, and none can be made" in said
    assert ".unfinished" not in said
    assert "gwfast_llm.report" not in said
    assert AutoModelForCausalLM.from_pretrained(run / "model").config.hidden_size == 16


def test_a_model_that_cannot_be_written_is_one_line_and_keeps_the_checkpoint(fuse_here, tmp_path, monkeypatch):
    def bad(number):
        def write(*arguments, **options):
            raise OSError(number, "cannot")

        return write

    flags = []
    for number in (errno.ENOSPC, errno.EIO, errno.EACCES):
        with monkeypatch.context() as patch:
            patch.setattr(gather, "write_model", bad(number))
            code, said = fuse_here(*flags, steps=2, save_every=1)
        assert code == 2
        assert "Traceback" not in said
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "the checkpoint of step 2 is kept in" in errors[0]
        flags = ["--resume"]
    assert fuse_here("--resume", steps=2, save_every=1)[0] == 0


def test_a_model_that_no_checkpoint_holds_goes_elsewhere(fuse_here, tmp_path, monkeypatch):
    real, calls = gather.write_model, []

    def once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(gather, "write_model", once)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, said = fuse_here(steps=2)
    assert code == 2
    (rescued,) = tmp_path.glob("gwfast-*/model")
    assert f"the trained model is in {rescued} instead" in said
    assert AutoModelForCausalLM.from_pretrained(rescued).config.hidden_size == 16
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_is_amiss_is_said_of_where_the_run_is(fuse_here, tmp_path, monkeypatch):
    """Also when the run cannot be put in its place, and when it is stopped meanwhile."""

    def fail(*arguments, **options):
        raise ValueError("no")

    def stay(*arguments):
        raise FusionError("it stays")

    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.save_pretrained", fail)
    monkeypatch.setattr(run_report, "write_records", fail)
    with monkeypatch.context() as patch:
        patch.setattr("gwfast_llm.command_line.run_folder.finish", stay)
        code, said = fuse_here(steps=2)
    work = tmp_path / "runs" / ".r.unfinished"
    assert code == 2
    assert f"copy the pivot's tokenizer files to {work / 'model'}" in said
    code, said = fuse_here("--resume", steps=2)
    run = tmp_path / "runs" / "r"
    assert code == 0
    assert f"warning: {run} holds no run.json" in said
    real = gather.write_model

    def stopped(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(gather, "write_model", stopped)
    code, said = fuse_here(name="s", steps=2)
    assert code == 130
    assert f"copy the pivot's tokenizer files to {run.with_name('s') / 'model'}" in said
    assert said.splitlines()[-1] == f"stopped; the model is whole, in {run.with_name('s')}"


class Killed(BaseException):
    """Stands for a kill."""


def test_a_kill_between_model_and_place_is_finished_by_the_next_start(fuse_here, tmp_path, monkeypatch):
    def die(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("gwfast_llm.command_line.run_folder.finish", die)
        with pytest.raises(Killed):
            fuse_here(log_every=2)
    work = tmp_path / "runs" / ".r.unfinished"
    assert (work / "model" / "model.safetensors").is_file()
    code, said = fuse_here()
    assert code == 2
    assert "holds the trained model; --resume goes on with it, --overwrite starts anew" in said
    monkeypatch.setattr("gwfast_llm.training.fusion.fuse", None)  # nothing is trained again
    assert fuse_here("--resume", log_every=2)[0] == 0
    run = tmp_path / "runs" / "r"
    assert (run / "report.md").is_file()
    assert json.loads((run / "run.json").read_text())["kind"] == "fusion"
    assert not work.exists()


def test_pictures_are_never_half(tmp_path, monkeypatch):
    from gwfast_llm.system.records import write_whole

    (tmp_path / "losses.png").write_bytes(b"old")

    def half(path):
        path.write_bytes(b"ha")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(tmp_path / "losses.png", half)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
    if sys.platform != "win32":
        (tmp_path / "precious").write_bytes(b"mine")
        (tmp_path / "report.md").symlink_to(tmp_path / "precious")
        write_whole(tmp_path / "report.md", lambda path: path.write_bytes(b"new"))
        assert (tmp_path / "precious").read_bytes() == b"mine"
