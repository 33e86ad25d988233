"""What holds for every rule."""

import json

import numpy as np
import pytest
from helpers.evidence import evidence

from gandiag.analyzers import ANALYZERS, Analyzer, Finding, Skipped

EVERY = [pytest.param(rule, id=rule.code) for rule in ANALYZERS]


def test_the_rules_of_the_design_are_there() -> None:
    """Scanning the folder finds them; no list is kept by hand."""
    assert {"GD101", "GD103", "GD104", "GD105", "GD201", "GD203", "GD301", "GD303"} <= set(ANALYZERS.names())


@pytest.mark.parametrize("rule", EVERY)
def test_a_healthy_run_gets_no_finding(rule: Analyzer) -> None:
    """Not one rule says a word about a healthy run, nor does it refuse to judge it."""
    assert rule(evidence()) == []


@pytest.mark.parametrize("rule", EVERY)
def test_nothing_recorded_is_never_healthy(rule: Analyzer) -> None:
    """A run of no iterations and no snapshots: each rule says that it cannot judge, and why."""
    answers = rule(evidence(steps=(), scalars={}))
    assert [type(answer) for answer in answers] == [Skipped]
    assert answers[0].code == rule.code
    assert len(answers[0].because) > 20


@pytest.mark.parametrize("rule", EVERY)
def test_three_iterations_raise_no_alarm(rule: Analyzer) -> None:
    """With three iterations and one snapshot nothing is critical."""
    short = {name: values[:3] for name, values in evidence().scalars.items()}
    answers = rule(evidence(steps=(3,), scalars=short, iterations=3))
    assert not [a for a in answers if isinstance(a, Finding)]


@pytest.mark.parametrize("rule", EVERY)
def test_a_rule_explains_itself(rule: Analyzer) -> None:
    """Code, dashed name and a first line of the docstring, which `gandiag explain` prints."""
    assert rule.code.startswith("GD")
    assert rule.name == rule.name.lower().replace(" ", "-")
    assert 20 < len(rule.summary) < 120


def test_findings_are_plain_values() -> None:
    """Evidence of a finding goes into strict JSON as it is."""
    run = evidence(shares=np.tile([0.3, 0.3, 0.3, 0.1, 0, 0, 0, 0], (7, 1)))
    answers = [answer for rule in ANALYZERS for answer in rule(run)]
    found = [a for a in answers if isinstance(a, Finding)]
    assert found
    for finding in found:
        json.dumps(finding.evidence, allow_nan=False)
        assert finding.first_step <= finding.last_step
