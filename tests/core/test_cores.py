"""The process's own share of the cores."""

from __future__ import annotations

import os

import pytest

from l2l_cli.core.cores import usable_cores


@pytest.fixture
def many(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 64),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1),
        # The group that holds ours grants less than our own.
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                "sys/fs/cgroup/job/step/cpu.max": "800000 100000",
                "sys/fs/cgroup/job/cpu.max": "400000 100000",
            },
            4,
        ),
        # In a container the path is that outside of it, which is not there.
        ({"proc/self/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        (
            {
                "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/slurm/job_1\n",
                "sys/fs/cgroup/cpu,cpuacct/slurm/job_1/cpu.cfs_quota_us": "600000",
                "sys/fs/cgroup/cpu,cpuacct/slurm/job_1/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            6,
        ),
    ],
)
def test_control_groups_of_both_versions_limit_the_share(files, cores, tmp_path, many):
    write(tmp_path, files)
    assert usable_cores(tmp_path) == cores


def test_a_process_that_is_bound_to_cores_uses_no_others(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3, 5}, raising=False)
    assert usable_cores(tmp_path) == 3
