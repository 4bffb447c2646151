"""What many tests share: a real Mosquitto on a free loopback port, and waiting for a condition instead of sleeping."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"  # Debian keeps it where only root looks
LOOPBACK = "127.0.0.1"


def eventually(condition: Callable[[], object], within_s: float = 10.0) -> bool:
    """Whether `condition` became true in time: returns as soon as it does."""
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            return bool(condition())
        time.sleep(0.005)
    return True


class Mosquitto:
    """A real broker on `port`; `stop` kills it as a power cut would, `start` brings it back on the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            self.port: int = probe.getsockname()[1]
        self._config, self.log = folder / "mosquitto.conf", folder / "mosquitto.log"
        self._config.write_text(
            f"listener {self.port} {LOOPBACK}\nallow_anonymous true\npersistence false\n"
            f"log_dest stderr\nlog_type all\nset_tcp_nodelay true\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        executable = shutil.which("mosquitto", path=PATH)
        assert executable is not None
        with self.log.open("ab") as log:  # not by itself: started by root it becomes another user first
            self._process = subprocess.Popen([executable, "-c", str(self._config)], stdout=log, stderr=log)
        assert eventually(self._listening), f"mosquitto does not listen; see {self.log}"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self.port)) == 0


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """Running. Mark the test with `broker`; where Mosquitto is not installed it is skipped."""
    if shutil.which("mosquitto", path=PATH) is None:
        pytest.skip("mosquitto is not installed (Debian: apt-get install mosquitto)")
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(folder)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., bool]:
    return eventually


@pytest.fixture(scope="session")
def ported_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The box of tests/edge/daemon_builder.py: a folder with a repository, ported once."""
    from tests.edge.daemon_builder import ported

    folder = tmp_path_factory.mktemp("ported")
    ported(folder)
    return folder


@pytest.fixture
def box(ported_once: Path, tmp_path: Path) -> Path:
    """A copy of it of one's own, to serve from and to damage."""
    return Path(shutil.copytree(ported_once, tmp_path / "box"))
