"""The local pool, on processes that stand in for trainings."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from gandiag.remediate.executors import Listener, Outcome
from gandiag.remediate.executors.local import LocalExecutor
from gandiag.remediate.trials import Trial

#: Writes a run directory as a training would: argv is its path and how many iterations.
RECORD = """
import sys, numpy as np
from gandiag.rundir import RunWriter
def record(path, rows, **columns):
    writer = RunWriter(path, info={})
    columns = {name: np.full(rows, value, np.float32) for name, value in columns.items()}
    writer.append({"iteration": np.arange(1, rows + 1), **columns})
    return writer
"""


@pytest.fixture
def pool() -> LocalExecutor:
    return LocalExecutor(workers=2, poll=0.02, look=0.05, grace=2.0)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A trial whose process runs this Python text instead of `gandiag run`."""
    monkeypatch.setattr(Trial, "argv", lambda self: list(self.command))

    def build(name: str, body: str, *, stop_early: bool = False) -> Trial:
        script = tmp_path / f"{name}.py"
        script.write_text(RECORD + textwrap.dedent(body))
        run_dir = str(tmp_path / "arms" / name)
        return Trial(
            name=name,
            command=(sys.executable, str(script), run_dir),
            cwd=str(tmp_path),
            run_dir=run_dir,
            seed_offset=0,
            max_iterations=100,
            environment={"PART": name},
            stop_early=stop_early,
        )

    return build


def test_outcomes_in_order_with_each_one_s_fate(make, pool: LocalExecutor) -> None:  # type: ignore[no-untyped-def]
    """Finished, died at the end, died half way, recorded nothing: told apart, in the order of the trials."""
    trials = [
        make("whole", "record(sys.argv[1], 100).close()"),
        make("late", "record(sys.argv[1], 100).close(); raise SystemExit(3)"),
        make("half", "record(sys.argv[1], 50).close(); print('disk is full', file=sys.stderr); raise SystemExit(3)"),
        make("none", "raise RuntimeError('no such file: data.npz')"),
    ]
    outcomes = pool.run(trials, listener=Listener())
    assert [outcome.trial for outcome in outcomes] == trials
    assert [outcome.status for outcome in outcomes] == ["finished", "finished", "failed", "failed"]
    assert [outcome.iterations for outcome in outcomes] == [100, 100, 50, 0]
    assert "exit code 3" in outcomes[2].because
    assert "disk is full" in outcomes[2].because
    assert outcomes[3].because.endswith("RuntimeError: no such file: data.npz")


def test_the_reason_is_what_the_script_said_last(make, pool: LocalExecutor) -> None:  # type: ignore[no-untyped-def]
    """The launcher's general last word is left out, unless it is all there is."""
    said = "gandiag: the command failed with exit code 2 and nothing was recorded"
    refused = make("refused", f"raise SystemExit('gandiag: r1 needs no batch norm in D\\n{said}')")
    mute = make("mute", f"raise SystemExit({said!r})")
    outcomes = pool.run([refused, mute], listener=Listener())
    assert outcomes[0].because.endswith("batch norm in D")
    assert outcomes[1].because.endswith("nothing was recorded")


def test_the_child_gets_its_environment_and_folder_and_no_input(make, pool: LocalExecutor) -> None:  # type: ignore[no-untyped-def]
    """The trial's variables, its cwd, and an empty stdin: a script that asks a question must not hang."""
    body = "import os; print(os.getcwd(), os.environ['PART'], repr(sys.stdin.read()), os.environ['OMP_NUM_THREADS'])"
    trial = make("asks", body)
    pool.run([trial], listener=Listener())
    cwd, part, read, threads = Path(trial.run_dir + ".stdout.txt").read_text().split()
    assert (cwd, part, read) == (trial.cwd, "asks", "''")
    assert int(threads) >= 1


def test_no_more_than_the_workers_run_at_a_time(make) -> None:  # type: ignore[no-untyped-def]
    """A pool of one starts the second trial when the first has ended."""
    events: list[str] = []

    class Notes(Listener):
        def started(self, trial: Trial) -> None:
            events.append(f"start {trial.name}")

        def ended(self, outcome: Outcome) -> None:
            events.append(f"end {outcome.trial.name}")

    LocalExecutor(workers=1, poll=0.02).run([make("a", ""), make("b", "")], listener=Notes())
    assert events == ["start a", "end a", "start b", "end b"]


@pytest.mark.parametrize("stop_early", [True, False])
def test_a_hopeless_training_is_stopped_if_it_may_be(make, pool: LocalExecutor, stop_early: bool) -> None:  # type: ignore[no-untyped-def]
    """Non-finite gradients end a trial that allows it; one that does not runs to its end."""
    body = """
        import time
        writer = record(sys.argv[1], 60, **{"numerics/nonfinite": 5})
        time.sleep(60 if %r else 0.5)
    """
    (outcome,) = pool.run([make("nan", body % stop_early, stop_early=stop_early)], listener=Listener())
    assert outcome.status == ("stopped" if stop_early else "finished")
    assert outcome.iterations == 60
    assert ("not finite" in outcome.because) == stop_early


def test_an_interrupt_leaves_no_process_behind(make, pool: LocalExecutor, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Ctrl-C ends the trial and what the trial itself started, also where SIGTERM is ignored."""
    stubborn = make(
        "stubborn",
        """
        import os, pathlib, signal, subprocess, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        pathlib.Path(sys.argv[1] + ".pids.tmp").write_text(f"{os.getpid()} {child.pid}")
        os.rename(sys.argv[1] + ".pids.tmp", sys.argv[1] + ".pids")
        time.sleep(60)
        """,
    )
    pids_file = Path(stubborn.run_dir + ".pids")

    class Interrupt(Listener):
        def progressed(self, trial: Trial, iterations: int) -> None:
            if pids_file.exists():
                raise KeyboardInterrupt

    pool.grace = 0.3
    with pytest.raises(KeyboardInterrupt):
        pool.run([stubborn], listener=Interrupt())
    assert all(gone(int(pid)) for pid in pids_file.read_text().split())


def gone(pid: int) -> bool:
    """Whether the process is no more, or only a zombie that waits to be reaped by whoever inherited it."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_it_also_works_outside_the_main_thread(make, pool: LocalExecutor) -> None:  # type: ignore[no-untyped-def]
    """A notebook or a server may call from a thread, where no signal handler can be installed."""
    found: list[Outcome] = []
    trial = make("whole", "record(sys.argv[1], 100).close()")
    thread = threading.Thread(target=lambda: found.extend(pool.run([trial], listener=Listener())))
    thread.start()
    thread.join()
    assert found[0].status == "finished"
