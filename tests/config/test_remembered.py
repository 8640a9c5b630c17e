"""Configurations that are composed once and then changed: the same as those that Hydra composes anew."""

from __future__ import annotations

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from l2l_cli.config import remembered
from l2l_cli.config.compose import compose
from l2l_cli.config.remembered import composed
from l2l_cli.config.running import composition
from l2l_cli.core.errors import UsageError

WORDS = {
    "nothing": [],
    "choices alone": ["task=quadratic", "learner=adam"],
    "keys": ["task=quadratic", "meta.updates=7", "seed=3", "output=/tmp/a b"],
    "a key before a choice": ["meta.updates=7", "task=mnist_mlp", "task.horizon=5"],
    "the same key twice": ["meta.updates=7", "meta.updates=8"],
    "texts": ["name='a=b, c'", 'output="x=1"'],
    "nothing for a value": ["task=quadratic", "gradient.window=null"],
    "lists": ["task=mnist_mlp", "task.hidden=[4,5]"],
    "a mapping, then a key of it": ["search={trials: 3, updates: 5}", "search.trials=4"],
    "a key, then its mapping": ["search.trials=4", "search={trials: 3, updates: 5}"],
    "references": ["seed=9", "meta.updates=${seed}"],
    "a recipe of a paper": ["recipe=andrychowicz2016/mnist", "meta.updates=4", "task.horizon=9"],
    "an experiment": ["experiment=bosc2016/table", "rows={}"],
    "additions": ["task=quadratic", "+learner.rule.more=1", "learner.rule.more=2"],
    "deletions": ["learner=coordinatewise_lstm", "learner.rule.hidden=4", "~learner.rule.hidden"],
    "options of a class": ["learner=torch_optim", "++learner.options.lr=0.1"],
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_it_is_what_hydra_composes(words):
    whole = composition("meta-train", words, [])
    choices = dict(whole.hydra.runtime.choices)
    OmegaConf.set_struct(whole, False)
    whole.pop("hydra")
    for _ in range(2):  # composed, then remembered
        found = composed("meta-train", words, [])
        assert OmegaConf.to_container(found.config) == OmegaConf.to_container(whole)
        assert found.choices == {group: choices.get(group) for group in found.choices}


@pytest.mark.parametrize(
    "words",
    [
        ["meta.updats=3"],
        ["meta.updates=x"],
        ["task=quadratik"],
        ["seed=0,1"],
        ["a b"],
        ["task=null"],
        ["meta.updates="],
    ],
)
def test_what_hydra_refuses_is_refused_in_its_words(words):
    refusals = (HydraException, OmegaConfBaseException, ValueError)
    with pytest.raises(refusals) as whole:
        composition("meta-train", ["learner=adam", *words], [])
    for _ in range(2):
        with pytest.raises(refusals) as found:
            composed("meta-train", ["learner=adam", *words], [])
        assert (type(found.value), str(found.value)) == (type(whole.value), str(whole.value))


def test_hydra_is_asked_once_for_the_same_choices(monkeypatch):
    asked = []
    monkeypatch.setattr(remembered, "composition", lambda *given: asked.append(given) or composition(*given))
    remembered._kept.cache_clear()
    updates = [compose("meta-train", ["task=quadratic", f"meta.updates={count}"]).meta.updates for count in (3, 4, 5)]
    assert updates == [3, 4, 5]
    assert len(asked) == 1


def test_a_users_folder_is_not_searched(monkeypatch, tmp_path):
    monkeypatch.setattr(remembered, "_stamps", lambda: pytest.fail("conf/ alone is remembered"))
    (tmp_path / "meta").mkdir()  # of the user's own, and no group
    assert compose("meta-train", ["task=quadratic", "meta.updates=3"], str(tmp_path)).meta.updates == 3


def test_what_one_caller_changes_no_other_sees():
    first = composed("meta-train", ["task=quadratic"], [])
    first.config.task.dimension = 77
    first.choices["task"] = "changed"
    again = composed("meta-train", ["task=quadratic"], [])
    assert (again.config.task.dimension, again.choices["task"]) == (10, "quadratic")


def test_a_file_that_was_changed_is_read_again(tmp_path):
    own = tmp_path / "task" / "own.yaml"
    own.parent.mkdir()
    text = "_target_: l2l_cli.tasks.quadratic.Quadratic\nhorizon: 100\ndimension: "
    for dimension in (3, 14):
        own.write_text(f"{text}{dimension}\n")
        assert compose("meta-train", ["task=own"], str(tmp_path)).task["dimension"] == dimension
    own.unlink()
    with pytest.raises(UsageError, match="there is no task 'own'"):
        compose("meta-train", ["task=own"], str(tmp_path))
