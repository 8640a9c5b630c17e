"""Ways to run a job on a composed configuration."""

from __future__ import annotations

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from l2l_cli.config.running import alone, through_main

QUIET = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]


@pytest.fixture
def composed(monkeypatch):
    """Every configuration that Hydra composes."""
    found, compose = [], ConfigLoaderImpl.load_configuration

    def load(self, *args, **kwargs):
        found.append(compose(self, *args, **kwargs))
        return found[-1]

    # Hydra composes more to describe it, where an earlier test has left logging at DEBUG.
    monkeypatch.setattr(Hydra, "_print_debug_info", lambda *_, **__: None)
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", load)
    return found


@pytest.mark.parametrize(("way", "times"), [(alone, 1), (through_main, 2)])
def test_a_job_gets_what_was_composed(way, times, composed):
    seen = []

    def job(cfg):
        seen.append((cfg.meta.updates, list(HydraConfig.get().overrides.task)))

    way("meta-train", job, [*QUIET, "task=quadratic", "meta.updates=7"])
    assert seen == [(7, ["task=quadratic", "meta.updates=7"])]
    assert len(composed) == times
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize("way", [alone, through_main])
def test_what_a_job_raises_gets_through(way):
    def job(_):
        raise ZeroDivisionError("of the job")

    with pytest.raises(ZeroDivisionError, match="of the job"):
        way("meta-train", job, [*QUIET, "task=quadratic"])
    assert not GlobalHydra.instance().is_initialized()
