"""A user's own folder of configuration: Hydra's rules, except that comments may stand above ``# @package``."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult

from l2l_cli.config.user_yaml import read_yaml


class UserFolder(FileConfigSource):
    """Reads the files of ``--config-dir``.

    Hydra reads ``# @package`` from the first line alone; here it may stand anywhere among a file's first comments, as
    below the path that a reader copies from a listing.
    """

    @staticmethod
    def scheme() -> str:
        """Return what an entry of the search path begins with."""
        return "folder"

    def load_config(self, config_path: str) -> ConfigResult:
        """Read one file.

        Raises:
            UsageError: It is no YAML; see ``read_yaml``.
        """
        path = Path(self.path) / f"{config_path.removesuffix('.yaml')}.yaml"
        lines = read_yaml(path)[1].splitlines() if path.is_file() else []
        found = super().load_config(config_path)
        comments = takewhile(lambda line: not line.strip() or line.lstrip().startswith("#"), lines)
        packages = [match.group(1) for line in comments if (match := re.match(r"\s*#\s*@package\s+(\S+)\s*$", line))]
        return replace(found, header=found.header | {"package": packages[0]}) if packages else found


Plugins.instance().register(UserFolder)
