"""Batch runs that are killed, lose workers or their scheduler, fill a disk or meet themselves: no output is less whole.

The seeds of kills: GEOFSRCNN_SEEDS=10 for ten, one otherwise.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from geofsrcnn.batch.cluster import Task, TaskPool, local_cluster
from geofsrcnn.batch.journal import NAME
from geofsrcnn.batch.messages import Done, Part, Settings, Work
from geofsrcnn.batch.run import upscale_files
from geofsrcnn.errors import BatchError, OutputError, UsageError
from geofsrcnn.options import UpscaleOptions
from tests.support import processes
from tests.support.archives import PLAIN, dataset, same
from tests.support.clusters import FORKED, children, gone, local
from tests.support.faults import JOURNAL, Gate, until
from tests.support.rasters import digest, state, terrain, write

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("forked_workers")

SEEDS = int(os.environ.get("GEOFSRCNN_SEEDS", "1"))


@pytest.fixture
def archive(tmp_path) -> Path:
    """Fourteen small rasters, a larger one that is split, and a dataset."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(14):
        write(folder / f"{number:02d}.tif", terrain((60, 70), seed=number).astype("float32"))
    write(folder / "large.tif", terrain((150, 160), seed=99).astype("float32"))
    dataset(folder / "t.nc", (5, 20, 30))
    return folder


class Faulty(distributed.WorkerPlugin):
    """On each worker, also on those that are started again: what happens to a file of a name."""

    name = "faulty"

    def __init__(self, name: str, fault: str, notes: Path) -> None:
        self.file, self.fault, self.notes = name, fault, str(notes)

    def setup(self, worker) -> None:
        import geofsrcnn.upscale.file as module

        opened = module.open_task
        file, fault, notes = self.file, self.fault, self.notes

        def faulty(source, *arguments):
            if Path(source).name == file:
                with open(notes, "a", encoding="utf-8") as log:  # noqa: PTH123
                    log.write(f"{os.getpid()}\n")
                if fault == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if fault == "exit":
                    os._exit(1)
                if fault == "once" and Path(notes).read_text(encoding="utf-8").count("\n") == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
            return opened(source, *arguments)

        module.open_task = faulty


class Doomed(distributed.WorkerPlugin):
    """On each worker: the first to be brought what a run needs dies of it."""

    name = "doomed"

    def __init__(self, notes: Path) -> None:
        self.notes = str(notes)

    def setup(self, worker) -> None:
        from geofsrcnn.batch.worker import Setup

        notes = self.notes

        def die(plugin, worker) -> None:
            try:
                open(notes, "x", encoding="utf-8").close()  # noqa: PTH123
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

        Setup.setup = die


class SmallDisk(distributed.WorkerPlugin):
    """On each worker: no file may be larger than this."""

    name = "small-disk"

    def __init__(self, most: int) -> None:
        self.most = most

    def setup(self, worker) -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN) if threading.current_thread() is threading.main_thread() else None
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.most, resource.RLIM_INFINITY))


def undisturbed(archive: Path, tmp_path: Path, address: str, **options) -> Path:
    """The outputs of a run that nothing happens to."""
    out = tmp_path / "undisturbed"
    assert not upscale_files([archive], out, 2, address=address, **options).failed
    return out


def equal(one: Path, other: Path) -> bool:
    """Whether two folders hold the same outputs, and nothing else."""
    names = [sorted(p.name for p in each.iterdir() if p.name != NAME) for each in (one, other)]
    return names[0] == names[1] and all(same(one / name, other / name) for name in names[0])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_driver_killed_at_any_moment(seed, archive, cluster, tmp_path):
    """SIGKILL of the command, workers and all, twice; the run that resumes makes what an undisturbed one does."""
    options = ("--factor", 2, "-m", "bilinear", "--tile-size", 16, "--split", 4000)
    common = ("batch", archive, *options, "--workers", 2, "--resume", "-q", "-o")
    before = {path: state(path) for path in archive.iterdir()}
    expected = undisturbed(archive, tmp_path, cluster, split=4000, **PLAIN)
    draw, out = random.Random(seed), tmp_path / "out"
    for turn in range(2):
        gate = Gate(tmp_path / "gates" / str(turn), at=draw.randrange(1, 7), places=JOURNAL)
        run = processes.start(*common, out, prelude=FORKED + gate.prelude)
        gate.reached(run)
        workers = children(run.pid)
        if turn:
            gate.open()
            time.sleep(draw.random() * 0.05)
        run.send(signal.SIGKILL)
        assert run.wait().code == -signal.SIGKILL or turn
        until(lambda workers=workers: all(gone(pid) for pid in workers))
    for path in out.glob("*.tif"):
        assert same(path, expected / path.name)
    finished = processes.run(*common, out, prelude=FORKED)
    assert finished.code == 0, finished
    assert equal(out, expected)
    assert {path: state(path) for path in archive.iterdir()} == before


@pytest.mark.parametrize("fault", ["kill", "exit"])
def test_a_file_that_kills_its_workers_fails_alone(fault, archive, tmp_path):
    """It is tried `retries` times more, and once again alone; all others are good."""
    notes = tmp_path / "notes"
    with local() as cluster, distributed.Client(cluster) as client:
        client.register_plugin(Faulty("05.tif", fault, notes))
        result = upscale_files([archive], tmp_path / "out", 2, address=cluster.scheduler_address, **PLAIN)
    assert [each.output for each in result.failed] == ["05_x2.tif"]
    assert (result.failed[0].code, len(result.done)) == (9, 15)
    assert result.failed[0].reason == "its worker was ended 3 times (out of memory, or a crash)"
    deaths = notes.read_text().split()
    assert len(deaths) == len(set(deaths)) == 6  # three times among others, three times alone


def test_a_worker_that_dies_once_is_no_failure(archive, tmp_path):
    notes = tmp_path / "notes"
    with local() as cluster, distributed.Client(cluster) as client:
        expected = undisturbed(archive, tmp_path, cluster.scheduler_address, **PLAIN)
        client.register_plugin(Faulty("05.tif", "once", notes))
        result = upscale_files([archive], tmp_path / "out", 2, address=cluster.scheduler_address, **PLAIN)
    assert not result.failed
    assert len(notes.read_text().split()) == 2
    assert equal(tmp_path / "out", expected)


def test_a_worker_that_dies_before_it_has_begun(archive, tmp_path):
    """While the run brings the workers what they need: it does so again."""
    with local() as cluster, distributed.Client(cluster) as client:
        client.register_plugin(Doomed(tmp_path / "notes"))
        result = upscale_files([archive], tmp_path / "out", 2, address=cluster.scheduler_address, **PLAIN)
        assert (tmp_path / "notes").exists()
        expected = undisturbed(archive, tmp_path, cluster.scheduler_address, **PLAIN)
    assert not result.failed
    assert equal(tmp_path / "out", expected)


def test_a_result_lost_with_its_worker_is_made_again(tmp_path):
    """The worker dies after the task has ended, before its result was fetched: no scheduler is lost."""
    notes, killed = tmp_path / "notes", []
    with local_cluster(1, 2) as client:

        def check() -> None:
            pending = [future for _, future in pool._pending.values()]
            if killed or not pending:
                return
            while not pending[0].done():
                time.sleep(0.001)
            (worker,) = client.run(os.getpid).values()
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)
            while pending[0].done():
                time.sleep(0.001)

        def noted() -> str:
            with open(notes, "a", encoding="utf-8") as log:  # noqa: PTH123
                log.write("x")
            return "made"

        pool, results = TaskPool(client, timeout=300, check=check), []
        pool.run([Task(noted, (), 0)], lambda _, result: results.append(result) or ())
    assert (results, len(killed), notes.read_text()) == (["made"], 1, "xx")


def test_chaos(archive, cluster, tmp_path):
    """Workers that crash by themselves three seconds after they start, again and again (distributed.chaos)."""
    from distributed.chaos import KillWorker

    out, options = tmp_path / "out", {**PLAIN, "split": 4000, "resume": True}
    expected = undisturbed(archive, tmp_path, cluster, **options)
    with local() as chaotic, distributed.Client(chaotic) as client:
        before = set(client.scheduler_info(n_workers=-1)["workers"])
        client.register_plugin(KillWorker(delay="3 s", mode="segfault"))
        while before & set(client.scheduler_info(n_workers=-1)["workers"]):
            number = len(list(tmp_path.glob("out*")))
            upscale_files([archive], tmp_path / f"out{number}", 2, address=chaotic.scheduler_address, **options)
        made = sorted(tmp_path.glob("out*"))
        assert made
        for out in made:
            result = upscale_files([archive], out, 2, address=chaotic.scheduler_address, **options)
            assert {each.code for each in result.failed} <= {9}
            if not result.failed:
                assert equal(out, expected)
    for out in made:
        assert not upscale_files([archive], out, 2, address=cluster, **options).failed
        assert equal(out, expected)


def test_a_full_disk_on_a_worker(archive, cluster, tmp_path):
    """What does not fit fails with code 5 and leaves nothing; with room again --resume does the rest."""
    out = tmp_path / "out"
    expected = undisturbed(archive, tmp_path, cluster, **PLAIN)
    with local() as small, distributed.Client(small) as client:
        most = (expected / "00_x2.tif").stat().st_size * 2
        assert (expected / "large_x2.tif").stat().st_size > most
        client.register_plugin(SmallDisk(most))
        result = upscale_files([archive], out, 2, address=small.scheduler_address, **PLAIN)
        assert [each.output for each in result.failed] == ["large_x2.tif"]
        assert result.failed[0].code == OutputError.exit_code
        assert not list(out.rglob(".*"))
    result = upscale_files([archive], out, 2, address=cluster, resume=True, **PLAIN)
    assert sum(not each.before for each in result.files) == 1
    assert equal(out, expected)


DASK = """
import importlib, os, sys

os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
os.dup2(1, 2)
sys.argv = ["dask", *args[1:]]
importlib.import_module("distributed.cli.dask_" + args[0]).main()
"""
"""What its own commands do, in silence."""


class Scheduler:
    """A scheduler and two workers as processes of their own."""

    def __init__(self, folder: Path, *secure: str) -> None:
        self.file = folder / "scheduler.json"
        quiet = (*secure, "--no-dashboard", "--scheduler-file", self.file)
        address = ("--host", "127.0.0.1", "--port", "0")
        self.process = processes.start("scheduler", *quiet, *address, script=DASK, cwd=str(folder))
        until(self.file.exists)
        options = ("--nthreads", "1", "--no-nanny", "--death-timeout", "300")
        self.workers = [processes.start("worker", *quiet, *options, script=DASK, cwd=str(folder)) for _ in range(2)]

    def wait(self) -> None:
        """Until both workers are there."""
        with distributed.Client(scheduler_file=str(self.file), timeout=300) as client:
            client.wait_for_workers(2, timeout=300)

    def kill(self) -> None:
        """The scheduler alone."""
        self.process.send(signal.SIGKILL)
        until(lambda: self.process.ended)

    def stop(self) -> None:
        for each in (self.process, *self.workers):
            each.send(signal.SIGKILL)
            each.wait()


@pytest.fixture
def scheduler(tmp_path) -> Iterator[Scheduler]:
    (tmp_path / "cluster").mkdir()
    made = Scheduler(tmp_path / "cluster")
    made.wait()
    yield made
    made.stop()


def test_the_scheduler_is_lost(scheduler, cluster, archive, tmp_path):
    """The run ends with code 9, whatever its timeout; what is finished stays, and another cluster does the rest."""
    out = tmp_path / "out"

    def progress(tally) -> None:
        if tally.done >= 3 and not scheduler.process.ended:
            scheduler.kill()

    with pytest.raises(BatchError, match="the scheduler is lost; what is finished is kept: run again with resume=True"):
        upscale_files(
            [archive], out, 2, scheduler_file=scheduler.file, scheduler_timeout=10**6, progress=progress, **PLAIN
        )
    done = len(list(out.glob("*_x2.tif")))
    assert done >= 3
    expected = undisturbed(archive, tmp_path, cluster, **PLAIN)
    result = upscale_files([archive], out, 2, address=cluster, resume=True, **PLAIN)
    assert not result.failed
    assert sum(each.before for each in result.files) >= 3
    assert equal(out, expected)


def test_a_scheduler_with_tls(archive, tmp_path):
    """As an existing cluster has it: by address, with the certificates that dask's configuration names."""
    import json

    import dask

    pytest.importorskip("cryptography")
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = distributed.Security.temporary()
    (folder / "ca.pem").write_text(made.tls_ca_file)
    (folder / "key.pem").write_text(f"{made.tls_client_key}\n{made.tls_client_cert}")
    files = {"ca-file": str(folder / "ca.pem"), "cert": str(folder / "key.pem"), "key": str(folder / "key.pem")}
    secure = [text for name, file in files.items() for text in (f"--tls-{name}", file)]
    cluster = Scheduler(folder, "--protocol", "tls", *secure)
    try:
        address = json.loads(cluster.file.read_text())["address"]
        assert address.startswith("tls://")
        tls = "distributed.comm.tls"
        settings = {f"{tls}.ca-file": files["ca-file"], f"{tls}.client.cert": files["cert"]}
        with dask.config.set(settings | {f"{tls}.client.key": files["key"]}):
            result = upscale_files([archive / "00.tif"], tmp_path / "out", 2, address=address, **PLAIN)
        assert not result.failed
        with pytest.raises(UsageError, match=r"tls://.* needs certificates: name them in dask"):
            upscale_files([archive / "01.tif"], tmp_path / "out2", 2, address=address, scheduler_timeout=2, **PLAIN)
    finally:
        cluster.stop()


def test_all_workers_are_lost(scheduler, archive, tmp_path):
    """Without workers for the time that is allowed, the run ends with code 9."""
    out = tmp_path / "out"

    def progress(tally) -> None:
        if tally.done >= 2:
            for each in scheduler.workers:
                each.send(signal.SIGKILL)

    with pytest.raises(BatchError, match="no workers for 2 s"):
        upscale_files([archive], out, 2, scheduler_file=scheduler.file, scheduler_timeout=2, progress=progress, **PLAIN)
    assert len(list(out.glob("*.tif"))) >= 2


def test_two_runs_of_one_folder(archive, cluster, tmp_path):
    """The second is refused while the first runs, which is not disturbed."""
    out = tmp_path / "out"
    common = ("batch", archive, "--factor", 2, "-m", "bilinear", "--workers", 1, "--resume", "-q", "-o")
    gate = Gate(tmp_path / "gate", at=3, places=JOURNAL)
    first = processes.start(*common, out, prelude=FORKED + gate.prelude)
    gate.reached(first)
    assert "another batch run writes here" in processes.run(*common, out).refused(5)
    gate.open()
    assert first.wait().code == 0
    assert equal(out, undisturbed(archive, tmp_path, cluster, model="bilinear"))


def test_a_task_that_runs_twice_at_once(archive, cluster, tmp_path):
    """As when a worker is taken for dead and is not: both end well, the output is whole."""
    from geofsrcnn.batch.worker import upscale_work, versions

    out = tmp_path / "out"
    settings = Settings("r", 3, "bilinear", "", UpscaleOptions(), str(out), 0, (), False, versions())
    work = Work(str(archive / "large.tif"), "l.tif")
    with distributed.Client(cluster, set_as_default=False) as client:
        seen = set()
        for _ in range(5):
            futures = [client.submit(upscale_work, settings, work, pure=False) for _ in range(4)]
            outcomes = [report.outcome for report in client.gather(futures)]
            assert [type(each) for each in outcomes] == [Done] * 4
            seen |= {each.sha256 for each in outcomes} | {digest(out / "l.tif")}
    assert len(seen) == 1
    assert [each.name for each in out.iterdir()] == ["l.tif"]


def test_an_input_replaced_between_its_parts(archive, cluster, tmp_path, monkeypatch):
    """Parts of two states of a file never make one output."""
    import geofsrcnn.batch.run as module

    path = archive / "large.tif"
    part = module._Batch._handle_part
    replaced = []

    def watched(batch, split, report):
        if not replaced and isinstance(report.outcome, Part):
            replaced.append(write(tmp_path / "new.tif", terrain((150, 160), seed=5).astype("float32")).replace(path))
        return part(batch, split, report)

    monkeypatch.setattr(module._Batch, "_handle_part", watched)
    out = tmp_path / "out"
    result = upscale_files([path], out, 2, address=cluster, split=1000, **PLAIN)
    assert (result.failed[0].code, "was changed while it was read" in result.failed[0].reason) == (3, True)
    assert not list(out.glob("*.tif"))
    result = upscale_files([path], out, 2, address=cluster, split=1000, resume=True, **PLAIN)
    assert not result.failed
    single = undisturbed(path, tmp_path, cluster, split=0, **PLAIN)
    assert equal(out, single)
