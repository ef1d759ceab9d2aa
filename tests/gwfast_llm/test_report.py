import io

from gwfast_llm.reports.scores import Contender, Score, table, verdict
from gwfast_llm.system.progress import Board, Stage, spell_time
from gwfast_llm.system.workers import Job


def contender(name, text, exact, trained=True, fused=False):
    return Contender(name, "", [[Score("M", "excess", text), Score("A", "exact", exact)]], trained, fused)


def judge(path_text, path_exact):
    before = contender("pivot before", 1.3, 0.05, trained=False)
    short, long = contender("sft_short", 1.1, 0.1), contender("sft", 2.3, 0.4)
    return verdict([before, short, long, contender("path", path_text, path_exact, fused=True)], "M", "A")


def test_a_fused_pivot_that_is_better_on_both_holds():
    found = judge(0.8, 0.39)
    assert found.holds
    assert found.winner.name == "path"
    assert "below sft" in found.text[3]


def test_worse_text_or_lower_exact_match_does_not_hold():
    assert not judge(1.2, 0.5).holds
    assert judge(1.2, 0.5).winner.name == "sft_short"
    assert "Did not help on text against sft_short: path." in judge(1.2, 0.5).text
    assert not judge(0.8, 0.08).holds
    assert "does **not** beat" in judge(0.8, 0.08).text[2]


def test_table_shows_mean_and_spread_over_seeds():
    runs = [[Score("M", "excess", v), Score("A", "exact", 0.5)] for v in (1.0, 2.0)]
    text = table([Contender("x", "", runs, True)], "M", "A")
    assert "| x | 1.500 ± 0.500 | 0.500 ± 0.000 | 1.50 | 0.50 |  |" in text


def test_board_says_what_is_done_and_what_is_left():
    jobs = [Job("one", print, (), 60.0), Job("two", print, (), 60.0)]
    stage, out = Stage("work", jobs), io.StringIO()
    board = Board([stage], lanes=2, stream=out)
    board.start(stage)
    board.progress("one", 1, 1)
    board.tick()
    text = out.getvalue()
    assert "work: 2 jobs, about 1 min 00 s left in all" in text
    assert "1 of 2 done" in text


def test_times_are_spelled_for_people():
    assert [spell_time(s) for s in (0.4, 61, 7200)] == ["0 s", "1 min 01 s", "2 h 00 min"]
