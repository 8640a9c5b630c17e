"""A user's folder of configuration: Hydra's rules apply, but comments may stand above ``# @package``."""

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

    Hydra looks for ``# @package`` in the first line only; here it may be anywhere among a file's first comments, for
    example below a path that was copied from a listing.
    """

    @staticmethod
    def scheme() -> str:
        """Return the prefix of entries in the search path."""
        return "folder"

    def load_config(self, config_path: str) -> ConfigResult:
        """Read one file.

        Raises:
            UsageError: It is not valid YAML; see ``read_yaml``.
        """
        path = Path(self.path) / f"{config_path.removesuffix('.yaml')}.yaml"
        lines = read_yaml(path)[1].splitlines() if path.is_file() else []
        found = super().load_config(config_path)
        comments = takewhile(lambda line: not line.strip() or line.lstrip().startswith("#"), lines)
        packages = [match.group(1) for line in comments if (match := re.match(r"\s*#\s*@package\s+(\S+)\s*$", line))]
        return replace(found, header=found.header | {"package": packages[0]}) if packages else found


Plugins.instance().register(UserFolder)
