"""Run folders: named, claimed, marked, replaced only where they are ours, recovered after a kill between two steps."""

import json
import os
import shutil

import pytest

from gwfast_llm.command_line import run_folder
from gwfast_llm.command_line.run_folder import claimed, finish, kept_in, open_unfinished, unfinished
from gwfast_llm.config import DataConfig, FuseConfig, ModelConfig, SourceConfig
from gwfast_llm.system.errors import FusionError
from gwfast_llm.teachers.dates import pinned

CONFIG = {"pivot": {"model": "x"}, "sources": [], "train": {"steps": 3}}


def claim(runs, name="r", resume=False, overwrite=False):
    with claimed(runs, name, "fuse", resume, overwrite) as target:
        return target


def made(runs, name="r", content="new", overwrite=False):
    """A finished run."""
    with claimed(runs, name, "fuse", False, overwrite) as target:
        work = open_unfinished(target, CONFIG, False, overwrite)
        (work / "model").mkdir()
        (work / "model" / "weights").write_text(content)
        finish(work, target, overwrite)
    return target


def said(folder):
    return (folder / "model" / "weights").read_text()


def listed(runs):
    return sorted(path.name for path in runs.iterdir())


def test_numbered_names_never_clash(tmp_path, capsys):
    assert claim(tmp_path, "").name == "fuse-001"
    (tmp_path / "fuse-007").mkdir()
    (tmp_path / "fuse-x").mkdir()
    (tmp_path / ".fuse-008.unfinished" / "model").mkdir(parents=True)
    with claimed(tmp_path, "", "fuse", False, False) as first, claimed(tmp_path, "", "fuse", False, False) as second:
        assert (first.name, second.name) == ("fuse-009", "fuse-010")
    assert "an unfinished run fuse-008 holds the trained model: --resume goes on with it" in capsys.readouterr().out
    assert claim(tmp_path, "", resume=True).name == "fuse-008"
    with (
        pytest.raises(FusionError, match=r"no unfinished run tiny-\.\.\. in .* to resume"),
        claimed(tmp_path, "", "tiny", True, False),
    ):
        pass


def test_a_second_start_on_a_name_is_refused_whatever_it_wants(tmp_path):
    with claimed(tmp_path, "r", "fuse", False, False):
        for resume, overwrite in ((False, False), (True, False), (False, True), (True, True)):
            with pytest.raises(FusionError, match=r"run folder .*/r is being written by process"):
                claim(tmp_path, "r", resume, overwrite)
    assert listed(tmp_path) == []


def test_an_error_of_the_block_is_not_taken_for_a_lock_that_is_held(tmp_path):
    from gwfast_llm.system.locks import Held

    with pytest.raises(Held, match="a store"), claimed(tmp_path, "", "fuse", False, False):
        raise Held("a store", here=True)


def test_overwrite_replaces_runs_alone(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "page.md").write_text("mine")
    with pytest.raises(FusionError, match=r"docs is no run of gwfast_llm, which alone --overwrite replaces"):
        claim(tmp_path, "docs", overwrite=True)
    (docs / "config.json").write_text(json.dumps(CONFIG))  # one's own configuration beside one's own files
    with pytest.raises(FusionError, match="is no run"):
        claim(tmp_path, "docs", overwrite=True)
    assert listed(docs) == ["config.json", "page.md"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FusionError, match="is no run"):
        claim(tmp_path, "file", overwrite=True)
    assert said(made(tmp_path)) == "new"
    with pytest.raises(FusionError, match=r"run folder .*/r exists; give another --name, or --overwrite"):
        claim(tmp_path)
    assert said(made(tmp_path, content="newer", overwrite=True)) == "newer"
    assert listed(tmp_path) == ["docs", "file", "r"]


@pytest.mark.parametrize("config", [CONFIG, {"size": "smoke", "recipes": {}, "fusions": {}}, {}])
def test_a_folder_without_our_mark_is_never_replaced_whatever_it_holds(tmp_path, config):
    for folder in (tmp_path / "r", tmp_path / ".r.old", tmp_path / ".r.unfinished"):
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "precious").write_text("mine")
        (folder / "config.json").write_text(json.dumps(config))
        with (
            pytest.raises(
                FusionError, match=r"no file \.gwfast-run .*; remove it by hand, or give another --name"
            ) as e,
            claimed(tmp_path, "r", "fuse", False, True) as target,
        ):
            open_unfinished(target, CONFIG, False, True)
        assert str(folder) in str(e.value)
        assert (folder / "data" / "precious").read_text() == "mine"
        shutil.rmtree(folder)


def test_links_are_not_replaced_and_never_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    made(elsewhere, "r")
    runs = tmp_path / "runs"
    runs.mkdir()
    for name in ("r", ".r.unfinished", ".r.old"):
        link = runs / name
        link.symlink_to(elsewhere / "r")
        with (
            pytest.raises(FusionError, match=r"is a link|is no run"),
            claimed(runs, "r", "fuse", False, True) as target,
        ):
            open_unfinished(target, CONFIG, False, True)
        link.unlink()
    assert said(elsewhere / "r") == "new"
    (runs / "r").symlink_to(tmp_path / "nothing")
    with pytest.raises(FusionError, match="is a link"):
        claim(runs)


def test_the_folder_of_all_runs_may_be_a_link_but_not_to_nothing(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    assert said(made(tmp_path / "runs")) == "new"
    assert listed(tmp_path / "disk") == ["r"]
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FusionError, match=r"--runs .*gone is a link to nothing"):
        claim(tmp_path / "gone")
    (tmp_path / "file").write_text("")
    for bad in ("file", "file/below"):
        with pytest.raises(FusionError, match=r"is a file|cannot be looked at|cannot write"):
            claim(tmp_path / bad)


class Killed(BaseException):
    """Stands for a kill."""


STEPS = ("rename", "unlink", "rmtree")


def dying(monkeypatch, at):
    """Let the process be killed before its n-th change of the disk."""
    count = [0]

    def counted(real):
        def step(*arguments, **options):
            count[0] += 1
            if count[0] == at:
                raise Killed
            return real(*arguments, **options)

        return step

    path = type(run_folder.Path())
    monkeypatch.setattr(path, "rename", counted(path.rename))
    monkeypatch.setattr(path, "unlink", counted(path.unlink))
    monkeypatch.setattr(path, "touch", counted(path.touch))
    monkeypatch.setattr(run_folder.shutil, "rmtree", counted(run_folder.shutil.rmtree))
    return count


@pytest.mark.parametrize("at", range(1, 9))
def test_a_kill_in_the_last_steps_never_blocks_a_name(tmp_path, at):
    """Either run is whole at any moment, and the next start of the name works."""
    made(tmp_path, content="old")
    with claimed(tmp_path, "r", "fuse", False, True) as target:
        work = open_unfinished(target, CONFIG, False, True)
        (work / "model").mkdir()
        (work / "model" / "weights").write_text("new")
        with pytest.MonkeyPatch.context() as patch:
            count = dying(patch, at)
            try:
                finish(work, target, True)
                done = True
            except Killed:
                done = False
    assert done == (count[0] < at)
    with claimed(tmp_path, "r", "fuse", True, True) as target:
        assert target.is_dir()  # put back, where the kill came between the two renames
        assert said(target) in ("old", "new")
        left = unfinished(target)
        if left.exists():
            assert said(open_unfinished(target, CONFIG, True, True)) == "new"
            finish(left, target, True)
    assert said(tmp_path / "r") == "new"
    assert listed(tmp_path) == ["r"]


def test_what_came_to_be_meanwhile_is_not_replaced(tmp_path):
    for overwrite in (False, True):
        with claimed(tmp_path, "r", "fuse", False, overwrite) as target:
            work = open_unfinished(target, CONFIG, False, True)
            (work / "model").mkdir()
            target.mkdir()
            (target / "notes.txt").write_text("mine")
            with pytest.raises(FusionError, match=r"the run is whole, in .*\.r\.unfinished, but cannot be put in its"):
                finish(work, target, overwrite)
            assert (target / "notes.txt").read_text() == "mine"
            assert (work / "model").is_dir()
            (target / "notes.txt").unlink()
            target.rmdir()


def test_an_unfinished_run_is_asked_about_only_where_it_holds_something(tmp_path):
    work = unfinished(tmp_path / "r")
    work.mkdir(parents=True)
    (work / ".gwfast-run").touch()
    (work / "config.json").write_text(json.dumps(CONFIG))  # killed before the first checkpoint
    with claimed(tmp_path, "r", "fuse", False, False) as target:
        assert open_unfinished(target, CONFIG, False, False) == work
    checkpoint = work / "checkpoints" / "checkpoint-4"
    checkpoint.mkdir(parents=True)
    assert not kept_in(work)
    (checkpoint / "whole").touch()
    with (
        claimed(tmp_path, "r", "fuse", False, False) as target,
        pytest.raises(FusionError, match=r"holds the checkpoint of step 4; --resume goes on with it, --overwrite"),
    ):
        open_unfinished(target, CONFIG, False, False)
    assert run_folder.drop_if_empty(work).startswith("the checkpoint of step 4 is kept in")
    assert checkpoint.is_dir()


def test_a_foreign_unfinished_folder_is_left_alone(tmp_path):
    work = unfinished(tmp_path / "r")
    work.mkdir(parents=True)
    (work / "thesis.tex").write_text("mine")
    with claimed(tmp_path, "r", "fuse", False, True) as target, pytest.raises(FusionError, match="is no run"):
        open_unfinished(target, CONFIG, False, True)
    assert (work / "thesis.tex").is_file()


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "[" * 10**5, '{"train": 3}', "\udc80", '{"pivot": NaN}'])
def test_a_damaged_configuration_of_an_unfinished_run_is_one_line(tmp_path, content):
    work = unfinished(tmp_path / "r")
    work.mkdir(parents=True)
    (work / ".gwfast-run").touch()
    (work / "config.json").write_bytes(content.encode(errors="surrogateescape"))
    with (
        claimed(tmp_path, "r", "fuse", True, False) as target,
        pytest.raises(FusionError, match=r"damaged|another configuration") as problem,
    ):
        open_unfinished(target, CONFIG, True, False)
    assert len(str(problem.value).splitlines()) == 1


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    if not os.path.isdir("/proc/self"):
        pytest.skip("no folder here that even its owner cannot write to")
    with pytest.raises(FusionError, match=r"cannot write to /proc/self/runs .* give another --runs"):
        claim(type(tmp_path)("/proc/self/runs"))


def test_names_that_no_file_system_holds_are_one_line(tmp_path):
    for name in ("x" * 245, "ä" * 121):
        with pytest.raises(FusionError, match=r"--name .*\.\.\. has 24[25] bytes; give a name of at most 240 bytes"):
            claim(tmp_path, name)
    assert claim(tmp_path, "x" * 240).name == "x" * 240
    with pytest.raises(FusionError, match="cannot write to"):
        claim(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "null", "\udc80", "[" * 10**5, '{"data": 3}', '{"data": {"date": 3}}', '{"data": null}']
)
def test_a_date_is_not_read_from_a_damaged_configuration(tmp_path, content):
    record = tmp_path / "config.json"
    record.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(
        FusionError, match=r"config\.json is damaged: .*; the run cannot be resumed; start anew"
    ) as found:
        pinned(FuseConfig(ModelConfig("p"), DataConfig("d"), [SourceConfig("s")]), record)
    assert len(str(found.value).splitlines()) == 1
