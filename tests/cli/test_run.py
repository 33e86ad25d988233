"""`gandiag run -- python train.py`: the script trains as it would, and what happened is on disk or in one message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.scripts import TRAIN, Terminal

from gandiag.rundir import RunReader, RunWriter


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal in a folder that holds `train.py`, and the same as a package `pkg`."""
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "__main__.py").write_text(TRAIN)
    return Terminal(tmp_path, monkeypatch, capfd)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `python train.py` prints without gandiag: the SHA-256 of all it trained."""
    script = tmp_path_factory.mktemp("plain") / "train.py"
    script.write_text(TRAIN)
    return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("command", ["python train.py", "python -m pkg", "train.py"])
def test_the_script_does_what_it_does_alone(terminal: Terminal, plain: str, command: str) -> None:
    """Weights, optimizer states and random streams are bit-identical, stdout is the script's, all is recorded."""
    done = terminal.gandiag("run", "--run-dir", "run", "--", *command.split())
    assert done.out == plain
    assert done.code == 0
    run = RunReader("run")
    assert run.scalars()["iteration"].tolist() == list(range(1, 121))
    assert run.info.status == "finished"
    assert run.info.roles["generator"]["classes"] == ["Maker"]
    assert run.info.roles["discriminator"]["classes"] == ["Judge"]
    assert run.info.d_calls == {"real": {"d": 120}, "fake": {"d": 120, "g": 120}}
    assert [*(run.info.command or [])][-1] == command.split()[-1]
    lines = done.err.splitlines()
    assert lines[0] == "gandiag: recording to run"
    assert lines[1] == "gandiag: recorded 120 iterations in run"
    assert lines[2].startswith("gandiag: next: gandiag analyze")


def test_the_default_directory_is_named_after_the_script(terminal: Terminal) -> None:
    """`runs/<script>-<date>-<id>`; the script sees it as GANDIAG_RUN_DIR; the user's own sitecustomize runs too."""
    own = terminal.folder / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import sys\nsys.own_site = 'ran'\n")
    terminal._monkeypatch.setenv("PYTHONPATH", str(own))
    (terminal.folder / "train.py").write_text(
        TRAIN + "    import os, sys\n    print(os.environ['GANDIAG_RUN_DIR'], sys.own_site)\n"
    )
    done = terminal.gandiag("run", "--", "python", "train.py", "--steps", "3")
    assert done.code == 0, done.err
    (path,) = (terminal.folder / "runs").iterdir()
    assert path.name.startswith("train-2")
    assert done.out.split()[1:] == [str(path), "ran"]
    assert len(RunReader(path).scalars()["iteration"]) == 3


def test_seed_offset_and_max_iterations(terminal: Terminal, plain: str) -> None:
    """Another seed, and an end with exit code 0 after so many iterations, with a readable run."""
    done = terminal.gandiag(
        *("run", "--run-dir", "run", "--seed-offset", 1000, "--max-iterations", 40, "--", "python", "train.py")
    )
    assert done.code == 0
    assert done.out == ""  # ended before the script prints
    run = RunReader("run")
    assert run.info.status == "finished"
    columns = run.scalars()
    assert columns["iteration"].tolist() == list(range(1, 41))
    terminal.gandiag("run", "--run-dir", "same", "--max-iterations", 5, "--", "python", "train.py")
    assert RunReader("same").scalars()["loss/d"][0] != columns["loss/d"][0]


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("", ["python", "-I", "s.py"], "started with -I, which makes it ignore gandiag"),
        ("", ["python", "-uI", "s.py"], "started with -uI, which makes it ignore gandiag"),
        ("", ["python", "s.py"], "no Python process below it imported torch"),
        ("import torch", ["python", "s.py"], "torch was imported, but no optimizer of torch.optim was made"),
        ("import sys; sys.exit(3)", ["python", "s.py"], "failed with exit code 3 and nothing was recorded"),
        ("import os; os.kill(os.getpid(), 9)", ["python", "s.py"], "was ended by SIGKILL and nothing was recorded"),
        ("", ["no-such-program"], "there is no such program"),
        ("", [], "nothing to run"),
    ],
)
def test_a_command_that_records_nothing_says_why(
    terminal: Terminal, script: str, words: list[str], message: str
) -> None:
    """Exit code 2, one message with the reason and what to do, no traceback of gandiag's, no empty directory left."""
    (terminal.folder / "s.py").write_text(script)
    done = terminal.gandiag("run", "--run-dir", "run", "--", *words)
    assert done.code == 2
    (line,) = done.messages()
    assert line.startswith("gandiag: ")
    assert message in line
    assert not Path("run").exists()


def test_a_script_that_breaks_in_the_middle_keeps_what_it_did(terminal: Terminal) -> None:
    """Its traceback is the script's own; then one line with the exit code and where the recording is."""
    script = TRAIN.replace("        om.step()\n", "        om.step()\n        assert _ < 20, 'mine'\n")
    (terminal.folder / "train.py").write_text(script)
    done = terminal.gandiag("run", "--run-dir", "run", "--", "python", "train.py")
    assert done.code == 2
    assert "AssertionError: mine" in done.err
    assert "failed with exit code 1 after 21 iterations" in done.err.splitlines()[-1]
    assert "gandiag/" not in done.err.replace(str(terminal.folder), "").split("AssertionError")[1]
    run = RunReader("run")
    assert run.info.status == "failed"
    assert len(run.scalars()["iteration"]) == 21


def test_directories_that_cannot_be_are_refused_before_the_start(terminal: Terminal) -> None:
    """Below a regular file, or with somebody else's run.json: exit 2, one line, and the script is not started."""
    (terminal.folder / "s.py").write_text("open('started', 'w')")
    (terminal.folder / "file").write_text("")
    foreign = terminal.folder / "foreign"
    foreign.mkdir()
    (foreign / "run.json").write_text("{}")
    for path in ("file/run", "foreign"):
        done = terminal.gandiag("run", "--run-dir", path, "--", "python", "s.py")
        assert done.code == 2
        assert len(done.err.splitlines()) == 1, done.err
        assert path.split("/")[0] in done.err
    assert not Path("started").exists()
    assert [p.name for p in foreign.iterdir()] == ["run.json"]


def test_a_continued_run_is_no_excuse_for_recording_nothing(terminal: Terminal) -> None:
    """In a directory with an earlier attempt the message counts the new one only, and the old one is left alone."""
    RunWriter("run", info={}).close()
    (terminal.folder / "s.py").write_text("")
    done = terminal.gandiag("run", "--run-dir", "run", "--", "python", "s.py")
    assert done.code == 2
    assert "nothing was recorded" in done.err
    assert RunReader("run").info.status == "finished"


def test_unclear_roles_are_asked_and_the_answer_is_taken(terminal: Terminal) -> None:
    """Data that flows past autograd: the question names both nets and the flags; a class or a variable answers."""
    blind = ("python", "train.py", "--steps", "5", "--blind")
    done = terminal.gandiag("run", "--run-dir", "run", "--", *blind)
    assert done.code == 2
    (line,) = done.messages()
    for word in ("Maker (variable mine)", "Judge (variable yours)", "--generator NAME --discriminator NAME"):
        assert word in line
    for hints in (("--generator", "Maker", "--discriminator", "Judge"), ("--discriminator", "yours")):
        path = f"run{hints[-1]}"
        done = terminal.gandiag("run", "--run-dir", path, *hints, "--", *blind)
        assert done.code == 0, done.err
        info = RunReader(path).info
        assert info.roles["generator"] | {"layers": 0} == {
            "classes": ["Maker"],
            "parameters": 114,
            "confidence": 1.0,
            "layers": 0,
        }
        assert any("no training call of the discriminator saw a sample" in text for text in info.blind_spots)


@pytest.mark.parametrize(
    ("enable", "message"),
    [
        (["r1"], "BatchNorm1d"),
        (["r2d2"], "no technique named 'r2d2'"),
        (["r1:gama=1"], "gama"),
        (["r1", "r1"], "r1 was asked for twice"),
        (["more_data"], "gandiag techniques more_data"),
    ],
)
def test_a_technique_that_cannot_be_is_refused_before_training(
    terminal: Terminal, enable: list[str], message: str
) -> None:
    """Exit code 2, one message on stderr, no traceback, and nothing trained or left behind."""
    words = [word for name in enable for word in ("--enable", name)]
    done = terminal.gandiag("run", "--run-dir", "run", *words, "--", "python", "train.py", "--norm")
    assert done.code == 2
    (line,) = done.messages()
    assert line.startswith("gandiag: ")
    assert message in line
    assert done.out == ""
    assert not Path("run").exists()


def test_a_script_that_watches_itself_is_recorded_once_where_the_command_line_says(terminal: Terminal) -> None:
    """`gandiag.watch(run_dir=...)` below `gandiag run`: one recording, in the command line's directory, with its
    techniques, so that a remediation's trials never write into the run that they are to repair."""
    body = "import gandiag\n" + TRAIN.replace(
        "    loss = nn.B",
        "    gandiag.watch(mine, yours, run_dir='own', techniques=['ema', 'r1:gamma=9'])\n    loss = nn.B",
    )
    (terminal.folder / "train.py").write_text(body)
    done = terminal.gandiag(
        "run", "--run-dir", "run", "--enable", "r1:gamma=0.5", "--", "python", "train.py", "--steps", 4
    )
    assert done.code == 0, done.err
    assert not Path("own").exists()
    info = RunReader("run").info
    assert len(RunReader("run").scalars()["iteration"]) == 4
    techniques = {t["name"]: t["params"] for t in info.techniques}
    assert set(techniques) == {"ema", "r1"}
    assert techniques["r1"]["gamma"] == 0.5


def test_signals_reach_the_script(terminal: Terminal) -> None:
    """SIGTERM to gandiag is the script's to handle: it ends in its own way, and the run is complete."""
    body = TRAIN.replace(
        "if __name__", "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nif __name__"
    )
    (terminal.folder / "train.py").write_text(
        body.replace("        om.step()\n", "        om.step(); open('on', 'w').close()\n")
    )
    words = [
        *(sys.executable, "-m", "gandiag_cli", "run", "--run-dir", "run"),
        *("--", "python", "train.py"),
        "--steps",
        "1000000",
    ]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        while not Path("on").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "failed with exit code 7 after" in err
    assert RunReader("run").info.status == "finished"


def test_workers_by_spawn_leave_the_run_alone(terminal: Terminal) -> None:
    """A DataLoader whose workers are new Python processes that import torch: one attempt, the trainer's."""
    body = TRAIN.replace(
        "    for _ in range(options.steps):\n",
        "    loader = torch.utils.data.DataLoader(\n"
        "        list(range(8)), num_workers=2, multiprocessing_context='spawn')\n"
        "    for _ in loader:\n",
    )
    (terminal.folder / "train.py").write_text(body)
    done = terminal.gandiag("run", "--run-dir", "run", "--", "python", "train.py")
    assert done.code == 0, done.err
    assert [p.name for p in Path("run").glob("rank*")] == ["rank0.a0"]
    assert len(RunReader("run").scalars()["iteration"]) == 8


def test_a_python_without_gandiag_still_runs_its_script(terminal: Terminal) -> None:
    """Where torch can be imported and gandiag cannot, the script trains unwatched, and both lines say so."""
    fake = terminal.folder / "torch"
    fake.mkdir()
    (fake / "__init__.py").write_text("print('torch')")
    (terminal.folder / "s.py").write_text("import sys; sys.modules['gandiag'] = None; import torch")
    done = terminal.gandiag("run", "--run-dir", "run", "--", "python", "s.py")
    assert done.out == "torch\n"
    assert "not attached" in done.messages()[0]
    assert "nothing was recorded" in done.messages()[1]
    assert os.environ.get("GANDIAG_OPTIONS") is None
