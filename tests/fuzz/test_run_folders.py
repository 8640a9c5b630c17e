"""Damaged and hostile run folders: evaluated, resumed and repeated, they come to the same bits or are refused."""

from __future__ import annotations

import pytest

from tests.fuzz.material import CALLS, FILES, Runs, calls
from tests.fuzz.mutations import BYTES, KINDS, MEANING, Mutation, mutations, put
from tests.fuzz.outcome import SLOW, Faults, digest_of, each, outcome

pytestmark = SLOW

SHARE = 0.5 / (len(CALLS) * len(FILES))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("name", CALLS)
def test_without_damage(name, runs, tmp_path):
    kind, call, known = calls(runs)[name]
    runs.fresh(kind, tmp_path / "place")
    ended = outcome(lambda: call(tmp_path / "place"), tmp_path / "place")
    assert ended == (known, "", "")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", CALLS)
def test_damaged_contents(name, file, runs, tmp_path, capsys, tally):
    kind, call, known = calls(runs)[name]
    faults, place = Faults(repr(known)), tmp_path / "place"

    def case(mutation: Mutation) -> None:
        run = runs.fresh(kind, place)
        if not (run / file).is_file():
            return
        mutation(run / file, [one for one in sorted(run.iterdir()) if one.name != file])
        faults.judge((file, mutation), outcome(lambda: repr(call(place)), place))
        capsys.readouterr()

    each(mutations(*BYTES, *MEANING), SHARE, case)
    tally(faults)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", CALLS)
def test_something_else_in_place_of_a_file(name, file, runs, tmp_path, capsys, tally):
    kind, call, known = calls(runs)[name]
    faults, place, outside = Faults(repr(known)), tmp_path / "place", tmp_path / "outside"
    for what in KINDS:
        run = runs.fresh(kind, place)
        put(what, run / file, outside)
        before = digest_of(outside)
        ended = outcome(lambda: repr(call(place)), place)
        if digest_of(outside) != before:
            ended = ended._replace(fault=f"{ended.fault}; changed what a link leads to")
        faults.judge((file, what), ended)
        capsys.readouterr()
    tally(faults)
