"""Verdicts on claims follow the tests, and runs the weights that were chosen for their number of steps."""

import importlib

import pytest


@pytest.fixture(scope="module")
def claims():
    return importlib.import_module("experiments.rivals.claims")


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([], "not yet run"),
        ([(0.2, 0.01)], "holds"),
        ([(-0.2, 0.01)], "lost"),
        ([(0.2, 0.06), (-0.1, 0.9)], "not significant"),
        ([(0.2, 0.01), (-0.1, 0.01), (0.3, 0.5), (0.4, 0.6)], "1 holds, 1 lost, 2 not significant"),
    ],
)
def test_verdicts(claims, gains, said):
    assert claims.verdict([claims.Gain(*gain) for gain in gains]) == said


def test_a_gain_is_what_the_first_of_two_should_have_less_or_more_of(claims):
    paired = importlib.import_module("experiments.shared.statistics").Paired("a less b", (-0.5, -0.7), 0.01, 0.02)
    assert claims.less([paired]) == [claims.Gain(pytest.approx(0.6), 0.02)]
    assert claims.more([paired]) == [claims.Gain(pytest.approx(-0.6), 0.02)]
    assert claims.figures(claims.less([paired]), "nats") == "+0.600 nats"


def test_runs_use_the_weights_that_were_chosen_for_their_steps():
    selection = importlib.import_module("experiments.shared.selection")
    run = importlib.import_module("experiments.rivals.run")
    methods = {m.name: m for m in run.METHODS}
    rows = [row for row in run.RECORD.rows if row["stage"] == "test"]
    assert rows
    for row in rows:
        assert row["weight"] == selection.chosen_weight(run.RECORD.rows, methods[row["method"]], row["steps"]), row


def test_the_counting_term_is_known_only_while_it_counts():
    policies = importlib.import_module("experiments.rivals.policies")
    terms = importlib.import_module("gwfast_llm.terms.table").TERMS
    assert policies.TeacherTokens.name not in terms
    with policies.counted():
        assert terms[policies.TeacherTokens.name] is policies.TeacherTokens
    assert policies.TeacherTokens.name not in terms


def test_nothing_in_the_records_is_better_than_what_is_recommended():
    recommended = importlib.import_module("gwfast_llm.reports.inspection").RECOMMENDED
    assert recommended["path"]
    report = importlib.import_module("experiments.rivals.report")
    real = importlib.import_module("experiments.real_fusion.report")
    record = importlib.import_module("experiments.real_fusion.run").KEPT
    small = [t for steps in report.budgets() for t in report.comparisons(steps, "excess")]
    tests = [t for t in (*small, *real.rival_tests(record)) if t.name.endswith("less path")]
    assert tests
    assert [t.name for t in tests if t.mean < 0 and t.p_corrected < report.LEVEL] == []
