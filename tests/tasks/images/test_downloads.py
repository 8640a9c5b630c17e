"""Downloads against a server on this machine that breaks off, lies, or is gone."""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from l2l_cli.core.errors import UsageError
from l2l_cli.tasks.images import datasets
from l2l_cli.tasks.images.downloads import DownloadError, download

CONTENT = bytes(range(256)) * 1024
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
CUT = 100_000


class _Handler(BaseHTTPRequestHandler):
    """Serves by path: /whole, /cut (breaks off, then goes on), /forgetful (knows no Range), /other, /stuck."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))  # type: ignore[attr-defined]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.path != "/forgetful" else 0
        content = bytes(len(CONTENT)) if self.path == "/other" else CONTENT
        if self.path not in ("/whole", "/cut", "/forgetful", "/other", "/stuck"):
            self.send_error(404)
            return
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        breaks = self.path == "/stuck" or (self.path in ("/cut", "/forgetful") and len(self.server.asked) == 1)  # type: ignore[attr-defined]
        self.wfile.write(content[start : start + (0 if self.path == "/stuck" else CUT)] if breaks else content[start:])
        self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    found.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def at(server, *paths):
    return [f"http://127.0.0.1:{server.server_port}/{path}" for path in paths]


DEAD = "http://127.0.0.1:9/whole"


def test_a_file_comes_whole_with_progress_said_at_once(server, tmp_path, capsys):
    download(at(server, "whole"), tmp_path / "new" / "file.gz", MD5)
    assert (tmp_path / "new" / "file.gz").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.gz"]
    assert capsys.readouterr().err.startswith("downloading file.gz from 127.0.0.1")


def test_a_cut_file_is_gone_on_with_from_where_it_broke(server, tmp_path):
    download(at(server, "cut"), tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("/cut", None), ("/cut", f"bytes={CUT}-")]


def test_an_earlier_process_s_part_is_gone_on_with(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:5000])
    download(at(server, "whole"), tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("/whole", "bytes=5000-")]


def test_a_part_that_is_whole_already_is_only_verified(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    download(at(server, "whole"), tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_begins_anew(server, tmp_path):
    download(at(server, "forgetful"), tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("bad", ["other", "gone", "stuck"])
def test_a_mirror_that_is_dead_gone_or_lies_gives_way_to_the_next(bad, server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:10] if bad != "other" else b"")
    download([DEAD, *at(server, bad, "whole")], tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_where_no_address_gives_the_file_each_is_named_and_nothing_is_in_its_place(server, tmp_path):
    with pytest.raises(DownloadError) as failed:
        download([DEAD, *at(server, "other", "gone")], tmp_path / "file", MD5)
    text = str(failed.value)
    assert "refused" in text
    assert "it gave a different file, by its MD5" in text
    assert "404" in text
    assert not (tmp_path / "file").exists()


def test_a_full_disk_is_no_fault_of_the_mirror(server, tmp_path, monkeypatch):
    from l2l_cli.tasks.images import downloads

    def full(address, file, before, name):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "file.part"))

    monkeypatch.setattr(downloads, "_append", full)
    with pytest.raises(OSError, match="No space left"):
        download(at(server, "whole"), tmp_path / "file", MD5)


def test_a_missing_data_set_is_downloaded_or_told_where_to_put_it(server, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "MNIST", {"train-images-idx3-ubyte.gz": MD5})
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", [f"{at(server, '')[0]}"])
    with pytest.raises(UsageError, match=r"cannot be downloaded .*404.*put that file \(MD5 \w+\) there"):
        datasets.load("mnist", tmp_path, None, 1)
