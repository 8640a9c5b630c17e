"""The process's own share of the cores and of the memory."""

from __future__ import annotations

import os

import pytest

from l2l_cli.core.cores import usable_cores, usable_memory


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


FREE = {"proc/meminfo": "MemTotal: 64 kB\nMemAvailable: 32 kB\nSwapFree: 8 kB\n"}


@pytest.mark.parametrize(
    ("files", "kilobytes"),
    [
        (FREE, 40),
        ({}, None),
        (
            FREE
            | {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "9"},
            40,
        ),
        # What holds copies of files is given back when it is asked for.
        (
            FREE
            | {
                "proc/self/cgroup": "0::/a\n",
                "sys/fs/cgroup/a/memory.max": f"{20 * 1024}\n",
                "sys/fs/cgroup/a/memory.current": f"{10 * 1024}\n",
                "sys/fs/cgroup/a/memory.stat": f"anon 7\ninactive_file {4 * 1024}\n",
            },
            14,
        ),
        (
            FREE
            | {
                "proc/self/cgroup": "4:memory:/docker/x\n2:cpu:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{16 * 1024}",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{10 * 1024}",
            },
            6,
        ),
    ],
)
def test_memory_is_what_is_free_and_what_control_groups_still_grant(files, kilobytes, tmp_path):
    write(tmp_path, files)
    assert usable_memory(tmp_path) == (None if kilobytes is None else 1024 * kilobytes)
