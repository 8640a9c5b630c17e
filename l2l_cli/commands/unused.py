"""Overrides that a command does not use are refused before anything is done, with advice on what to use; no torch.

``READ`` is the only table that says which parts of the settings a command reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser

from l2l_cli.config.compose import compose
from l2l_cli.config.groups import contenders_of
from l2l_cli.config.own_task import key_of_word, task_was_chosen
from l2l_cli.config.schema import TRAINED, Settings
from l2l_cli.core.errors import UsageError
from l2l_cli.core.nodes import Node


class Asked(NamedTuple):
    """A command's settings and flags; for ``reproduce``, the only flag is the role of a row."""

    settings: Settings
    flags: Node

    @property
    def contenders(self) -> list[list[str]]:
        """Overrides of each hand-made contender or rival."""
        named = [*self.flags.get("learners", []), *self.settings.evaluation.against]
        own = self.settings.contenders.values() if "learners" in self.flags else ()
        return [*contenders_of(named, self.settings.config_dir).values(), *(list(map(str, items)) for items in own)]

    @property
    def takes_learner(self) -> bool:
        """Whether a contender is, or starts from, the learner that was chosen for all."""
        chosen = {f"learner={self.settings.choices.get('learner')}"}
        choices = [{item for item in items if key_of_word(item) == "learner"} for items in self.contenders]
        return any(not one or one & chosen for one in choices)

    @property
    def depends_on_seed(self) -> bool:
        """Whether something is tuned, or the task's definition contains the seed."""
        if self.contenders:
            return True
        one = self.settings
        words = [word for word in one.overrides if key_of_word(word) != "seed"]
        other = compose("evaluate", [*words, f"seed={one.seed + 1}"], one.config_dir)
        return task_was_chosen(one.overrides) and other.task != one.task


Need = Callable[[Asked], bool]


def _always(asked: Asked) -> bool:
    del asked
    return True


def _never(asked: Asked) -> bool:
    del asked
    return False


def _trains(asked: Asked) -> bool:
    return asked.flags.get("role", "learned") in TRAINED  # a row of an experiment


def _searches(asked: Asked) -> bool:
    return _trains(asked) and asked.settings.search.trials > 0


def _follows_gradients(asked: Asked) -> bool:
    online = str(asked.settings.gradient.get("_target_")).startswith("l2l_cli.meta.rules.")
    return _trains(asked) and not online


def _lowers(asked: Asked) -> bool:
    return _follows_gradients(asked) and asked.settings.meta.schedule == "cosine"


def _clips(asked: Asked) -> bool:
    return _follows_gradients(asked) and asked.settings.meta.clip is not None


def _tunes(asked: Asked) -> bool:
    return bool(asked.contenders)


def _takes_learner(asked: Asked) -> bool:
    return asked.takes_learner


def _depends_on_seed(asked: Asked) -> bool:
    return asked.depends_on_seed


def _has_runs(asked: Asked) -> bool:
    return bool(asked.flags.get("runs"))


def _chose_task(asked: Asked) -> bool:
    return task_was_chosen(asked.settings.overrides)


def _on_cluster(asked: Asked) -> bool:
    return asked.settings.hardware.cluster is not None


def _on_slurm(asked: Asked) -> bool:
    return asked.settings.hardware.cluster == "slurm"


OF_JOBS = ("hardware.minutes", "hardware.array", "hardware.resubmit")
OF_SLURM = ("hardware.partition", "hardware.account", "hardware.memory", "hardware.gpus")

COMMANDS = ("meta-train", "evaluate", "compare", "reproduce")

READ: dict[str, tuple[Need, Need, Need, Need]] = {
    # Part of the settings:  meta-train, evaluate, compare, reproduce.  "learner=" is the choice in a group.
    "task": (_always, _always, _always, _always),
    "learner": (_always, _tunes, _tunes, _always),
    "learner=": (_always, _takes_learner, _takes_learner, _always),
    "optimizer": (_trains, _never, _never, _trains),
    "gradient": (_trains, _never, _never, _trains),
    "meta": (_trains, _never, _never, _trains),
    **dict.fromkeys(
        ("meta.warmup", "meta.schedule", "meta.clip", "meta.average"),
        (_follows_gradients, _never, _never, _follows_gradients),
    ),
    "meta.floor": (_lowers, _never, _never, _lowers),
    "meta.clip_relative": (_clips, _never, _never, _clips),
    "vary": (_trains, _never, _never, _trains),
    "search": (_searches, _never, _never, _searches),
    "search.trials": (_trains, _never, _never, _trains),
    "recipe": (_always, _chose_task, _always, _always),
    "experiment": (_always, _always, _always, _never),
    "evaluation": (_never, _always, _always, _always),
    "evaluation.stretch": (_never, _always, _never, _never),
    "evaluation.grid": (_never, _always, _never, _never),
    "evaluation.problems": (_never, _always, _never, _always),
    "evaluation.against": (_never, _always, _never, _never),
    "evaluation.learner": (_never, _always, _has_runs, _never),
    "tune": (_never, _tunes, _tunes, _always),
    "contenders": (_never, _never, _always, _never),
    "logger": (_always, _never, _never, _never),
    "seed": (_always, _depends_on_seed, _depends_on_seed, _never),
    "name": (_always, _always, _always, _always),
    "output": (_always, _always, _always, _never),
    "data": (_always, _always, _always, _always),
    "store": (_always, _always, _always, _always),
    "hardware": (_always, _always, _always, _always),
    "hardware.world": (_always, _never, _never, _trains),
    "hardware.processes": (_never, _never, _never, _always),
    **dict.fromkeys(OF_JOBS, (_on_cluster,) * 4),
    **dict.fromkeys(OF_SLURM, (_on_slurm,) * 4),
    **dict.fromkeys(
        ("paper", "artefact", "common", "rows", "published", "scales", "question", "text", "source"), (_never,) * 4
    ),
}

TRAINING = "it does no meta-training; the option is for `l2l meta-train`"
FILES = "the option belongs in an experiment's file; see --config-dir"

WHY: Mapping[str, str | Mapping[str, str]] = {
    "learner": {
        "evaluate": "the learner is the run's; evaluation.learner changes it, as in evaluation.learner.rule.lr=0.1, "
        "and evaluation.against=[adam] adds tuned rivals",
        "compare": "all contenders are runs; evaluation.learner changes their learners, as in "
        "evaluation.learner.rule.lr=0.1",
    },
    "learner=": {
        "evaluate": "the learner is the run's; evaluation.against=[adam] adds tuned rivals",
        "compare": "each contender has its own learner; add a contender by name, as in `l2l compare adam sgd`",
    },
    **dict.fromkeys(("optimizer", "gradient", "meta"), TRAINING),
    **{
        f"meta.{name}": {
            **dict.fromkeys(
                ("meta-train", "reproduce"), "an online rule of 1997 updates φ itself and reads only optimizer.lr"
            ),
            **dict.fromkeys(("evaluate", "compare"), TRAINING),
        }
        for name in ("warmup", "schedule", "clip", "average")
    },
    "logger": {
        **dict.fromkeys(("evaluate", "compare"), TRAINING),
        "reproduce": "its runs write metrics.csv; loggers are for `l2l meta-train`",
    },
    "meta.floor": "only meta.schedule=cosine lowers the rate to it",
    "meta.clip_relative": "meta.clip=null clips nothing",
    "vary": {
        "evaluate": "only meta-training draws variations; evaluation.grid scores each of them, as in "
        "evaluation.grid.hidden=[[20],[40]]",
        "compare": "only meta-training draws variations; change the task itself, as in task.hidden=[40]",
    },
    "search": "search.trials=0 does not search; set it, as in search.trials=8",
    "recipe": "it says how φ is trained, and the run is already trained; also choose a task to use what the recipe "
    "says of that task",
    "experiment": "the artefacts on the command line say which experiments are run",
    "evaluation": "meta-training is scored by validation alone (see meta.validation_episodes); give the option to "
    "`l2l evaluate RUN`",
    **{
        f"evaluation.{name}": {
            "compare": "it is for `l2l evaluate`; here evaluation.steps sets the horizon, and task.… the problem",
            "reproduce": "the experiment's rows set the horizons and problems",
        }
        for name in ("stretch", "grid", "problems", "against")
    },
    "evaluation.learner": {
        "compare": "it changes finished runs, and none is compared; change a hand-made learner in contenders, as in "
        '\'contenders.A=["learner=sgd","learner.rule.lr=0.1"]\'',
        "reproduce": "rows are measured as they were trained; learner.… changes both",
    },
    "tune": {
        "meta-train": "only hand-made learners are tuned, by `l2l compare`; search.trials=8 searches for the "
        "hyper-parameters of meta-training",
        "evaluate": "it tunes nothing; evaluation.against=[adam] adds tuned rivals",
        "compare": "all contenders are runs, so nothing is tuned; also name a hand-made learner",
    },
    "contenders": {
        "meta-train": "contenders are for `l2l compare`",
        "evaluate": "contenders are for `l2l compare`; evaluation.against=[adam] adds tuned rivals",
        "reproduce": "it compares the experiment's rows",
    },
    "seed": {
        "evaluate": "{seeds} draws other test episodes",
        "compare": "{seeds} draws other test episodes",
        "reproduce": "every row has seeds of its own; --seeds N sets their number",
    },
    "output": "--output sets the folder of the results",
    "hardware.world": "only meta-training is divided over processes; hardware.replicas divides each batch",
    "hardware.processes": "it is for `l2l reproduce`; -m hydra/launcher=joblib runs a sweep's jobs in parallel",
    **dict.fromkeys((*OF_JOBS, *OF_SLURM), "it is for jobs of hardware=slurm"),
}
"""Reason why a part is not read, for all commands or by command; ``FILES`` applies to the others."""


def refuse_unused(command: str, words: Sequence[str], all_asked: Sequence[Asked]) -> None:
    """Refuse overrides that none of the requested configurations uses.

    Args:
        command: Name of the command.
        words: Overrides as typed.
        all_asked: Requested configurations: a single one, those of a sweep's jobs, or those of a paper's rows.

    Raises:
        UsageError: A word is not used.
    """
    for word in words if all_asked else ():
        for part in parts_of(word):
            is_read = READ[part][COMMANDS.index(command)]
            if not any(is_read(asked) for asked in all_asked):
                raise UsageError(f"{command} does not use {word}: {_why(command, part, word)}")


def parts_of(word: str) -> list[str]:
    """Return the entries of ``READ`` that an override affects: none for Hydra's own, several if its value has keys."""
    key = key_of_word(word)
    if key.split(".")[0].split("/")[0] == "hydra":
        return []
    value = OverridesParser.create().parse_override(word).value() if "=" in word else None
    keys = _leaves(key, value) if isinstance(value, Mapping) and value else [key]
    return list(dict.fromkeys(part for part in (_entry(one, word) for one in keys) if part))


def _leaves(key: str, value: Mapping[Any, Any]) -> Iterator[str]:
    for name, item in value.items():
        inner = f"{key}.{name}"
        if isinstance(item, Mapping) and item and any(part.startswith(f"{inner}.") for part in READ):
            yield from _leaves(inner, item)
        else:
            yield inner


def _entry(key: str, word: str) -> str | None:
    """Return the longest entry of ``READ`` that is a prefix of a key."""
    if key == "learner" and "=" in word:
        return "learner="
    names = key.split("/")[0].split(".")
    candidates = (".".join(names[:length]) for length in range(len(names), 0, -1))
    return next((part for part in candidates if part in READ), None)


def _why(command: str, part: str, word: str) -> str:
    own = WHY.get(part)
    why = own if isinstance(own, str) else (own or {}).get(command)
    if why is None and "." in part:
        return _why(command, part.rpartition(".")[0], word)
    seeds = f"evaluation.seeds=[{word.partition('=')[2]}]"
    return FILES if why is None else why.replace("{seeds}", seeds)
