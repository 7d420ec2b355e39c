"""TFDS as a source: prepared folders, downloads that end or fail, hosts that are silent."""

import errno
import http.server
import socket
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from data_files import make_prepared

from ssl_weighting.data.examples import UnavailableError
from ssl_weighting.data.images import debian, tfds_source
from ssl_weighting.data.images.by_name import load_images

is_reachable = tfds_source.is_reachable


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path, monkeypatch):
    """No installed package, no TFDS folder, no network: only what a test provides."""
    monkeypatch.setattr(debian, "INSTALLED_FOLDER", tmp_path / "no-package")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no-tfds"))
    monkeypatch.setattr(tfds_source, "is_reachable", lambda url: False)


def test_folders_of_tfds_are_read_and_downloads_end_there(tmp_path, monkeypatch):
    images = make_prepared(tmp_path / "made", "mnist")
    raw = load_images("mnist", data_dir=tmp_path / "made")
    np.testing.assert_array_equal(raw.train.inputs, images)
    assert raw.test.labels.tolist() == [*range(10), *range(10)]
    assert raw.class_names[3] == "name 3"
    assert raw.source == "mnist: TFDS folder, version 3.0.1"  # and no folder of the machine
    (tmp_path / "cache").mkdir()
    (tmp_path / "made").rename(tmp_path / "cache" / "tfds")
    assert load_images("mnist", cache_dir=tmp_path / "cache").class_names[3] == "name 3"
    # An older version, beside it, is not taken.
    older = tmp_path / "cache" / "tfds" / "mnist" / "2.10.0"
    older.mkdir()
    (older / "dataset_info.json").write_text("{}")
    (older.parent / "notes").mkdir()
    found = tfds_source.find_prepared("mnist", tmp_path / "cache" / "tfds")
    assert found.name == "3.0.1"


def test_tfds_is_asked_only_once_its_host_answers(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    asked = []

    def builder(name, data_dir):
        def prepare():
            asked.append(name)
            make_prepared(data_dir, name)

        return SimpleNamespace(download_and_prepare=prepare)

    monkeypatch.setattr(tfds, "builder", builder)
    with pytest.raises(FileNotFoundError):
        load_images("fashion_mnist", cache_dir=tmp_path)
    assert asked == []
    monkeypatch.setattr(tfds_source, "is_reachable", lambda url: True)
    assert len(load_images("fashion_mnist", cache_dir=tmp_path).train) == 20
    assert asked == ["fashion_mnist"]


def test_a_download_that_fails_half_way_is_reported(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def builder(name, data_dir):
        raise tfds.download.DownloadError("HTTP code: 503")

    monkeypatch.setattr(tfds, "builder", builder)
    monkeypatch.setattr(tfds_source, "is_reachable", lambda url: True)
    with pytest.raises(FileNotFoundError, match=r"its download failed: HTTP code: 503"):
        load_images("fashion_mnist", cache_dir=tmp_path)


def test_a_full_disk_is_no_missing_source(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def builder(name, data_dir):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tfds, "builder", builder)
    monkeypatch.setattr(tfds_source, "is_reachable", lambda url: True)
    with pytest.raises(OSError, match="No space left on device") as caught:
        load_images("fashion_mnist", cache_dir=tmp_path)
    assert not isinstance(caught.value, UnavailableError)


def test_downloads_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_source, "is_reachable", lambda url: pytest.fail("asked"))
    monkeypatch.setenv("SSL_WEIGHTING_DOWNLOAD", "0")
    with pytest.raises(UnavailableError, match=r"switched off by SSL_WEIGHTING_DOWNLOAD=0"):
        load_images("fashion_mnist", cache_dir=tmp_path)
    make_prepared(tmp_path / "tfds", "mnist")  # what is there already is read
    assert load_images("mnist", cache_dir=tmp_path).class_names[3] == "name 3"


def damage(folder):
    """Flip a bit of the images of a set that TFDS prepared."""
    file = next(folder.rglob("*train.*tfrecord*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_damaged_set_of_tfds_is_made_again_in_the_cache(tmp_path, monkeypatch, capsys):
    import tensorflow_datasets as tfds

    cached = tmp_path / "cache" / "tfds"
    images = make_prepared(cached, "mnist")
    damage(cached)
    with pytest.raises(ValueError, match=r"mnist/3.0.1 must be a whole set .* again: .*answer"):
        load_images("mnist", cache_dir=tmp_path / "cache")
    assert tfds_source.find_prepared("mnist", cached).name == "3.0.1"  # it stays

    def builder(name, data_dir):
        return SimpleNamespace(download_and_prepare=lambda: make_prepared(data_dir, name))

    monkeypatch.setattr(tfds, "builder", builder)
    monkeypatch.setattr(tfds_source, "is_reachable", lambda url: True)
    raw = load_images("mnist", cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(raw.train.inputs, images)
    assert "3.0.1 of mnist in the cache is damaged; made again" in capsys.readouterr().out
    assert [path.name for path in (cached / "mnist").iterdir()] == ["3.0.1"]


def test_a_damaged_set_of_tfds_in_a_user_s_folder_is_refused_by_name(tmp_path):
    make_prepared(tmp_path, "mnist")
    damage(tmp_path)
    with pytest.raises(ValueError, match=r"mnist/3.0.1 must be a whole set that TFDS prepared"):
        load_images("mnist", data_dir=tmp_path)


def test_tfds_folders_with_other_splits_are_refused(tmp_path):
    make_prepared(tmp_path, "mnist", splits=("train", "dev"))
    with pytest.raises(ValueError, match=r"splits `train` and `test`.*\['dev', 'train'\]"):
        load_images("mnist", data_dir=tmp_path)


def test_a_silent_host_costs_no_more_than_the_timeout(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()  # takes the connection and never answers
        started = time.monotonic()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert not is_reachable(url, seconds=0.3)
        assert time.monotonic() - started < 2
    assert not is_reachable(url, seconds=0.3)  # nobody listens any more


def test_a_host_that_answers_is_reachable(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200 if self.path == "/there" else 404)
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert is_reachable(f"{url}/there")
        assert not is_reachable(f"{url}/gone")
        server.shutdown()
