"""`gandiag score`: what it prints, writes and exits with."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner, Result

from gandiag.errors import UsageError
from gandiag_cli import app
from gandiag_cli.bars import SampleBar


def score(*words: object) -> Result:
    return CliRunner().invoke(app.build(), ["score", *map(str, words)])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two blobs, of which the fakes have one."""
    folder = tmp_path_factory.mktemp("blobs")
    rng = np.random.default_rng(0)
    np.save(folder / "real.npy", np.concatenate([rng.normal(-5, 1, (150, 2)), rng.normal(5, 1, (150, 2))]))
    np.save(folder / "fake.npy", rng.normal(5, 1, (150, 2)).astype(np.float32))
    np.savetxt(folder / "labels.txt", np.repeat([0, 1], 150), fmt="%d")
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of digits as PNG: real ones of all classes, fake ones of all but 0 and 7."""
    folder = tmp_path_factory.mktemp("digits")
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))  # as they come, each part is by other writers
    images, classes = np.round(images[order].reshape(-1, 8, 8) / 16 * 255).astype(np.uint8), classes[order]
    for side in ("real", "fake"):
        (folder / side).mkdir()
    for index in range(900):
        side = "real" if index < 600 else "fake"
        if side == "real" or classes[index] not in (0, 7):
            Image.fromarray(images[index]).save(folder / side / f"{index:04d}.png")
    np.save(folder / "labels.npy", classes[:600])
    return folder


def test_it_prints_the_failure_the_table_and_the_modes(files: Path) -> None:
    """The name first; half of the data is never generated, and that is what the table says, too."""
    result = score(files / "real.npy", files / "fake.npy", "--labels", files / "labels.txt")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert text.startswith("MODES MISSING 1 of 2 modes is never or almost never generated")
    assert "of the real data is never generated" in text
    assert "1 of 2 modes captured (from your labels): 1 missing" in text
    assert "In identity: a sample has 2 numbers" in text
    assert result.stderr == ""


def test_json_is_all_there_is_on_stdout(files: Path) -> None:
    """One strict JSON object with metrics and their nulls, and the name of the failure."""
    found = json.loads(score(files / "real.npy", files / "fake.npy", "--json").stdout, parse_constant=pytest.fail)
    assert found["schema"] == "gandiag.scores/1"
    assert found["metrics"]["coverage"]["value"] < found["metrics"]["coverage"]["null_low"]
    assert found["reading"]["names"] == ["modes missing"]


def test_folders_of_images_are_scored_and_pictured(digits: Path, tmp_path: Path) -> None:
    """Missing digits are found by their labels; page and figures lie where they were asked for."""
    page, figures = tmp_path / "new" / "scores.html", tmp_path / "figures"
    labels = digits / "labels.npy"
    result = score(digits / "real", digits / "fake", "--labels", labels, "--html", page, "--png", figures)
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "MODES MISSING 2 of 10 modes" in text
    assert "8-bit grey images, read as one channel, were divided by 255." in text
    assert "labels were counted along the images sorted by path: 0000.png, 0001.png" in text
    assert "could not be drawn" not in page.read_text()
    assert {path.name for path in figures.iterdir()} == {"embedding.png", "metrics.png", "modes.png", "samples.png"}
    assert str(page) in result.stdout


def test_one_picture_of_everything(files: Path, tmp_path: Path) -> None:
    """`--png FILE.png` is all figures in one image that opens, and with --json its name stays off stdout."""
    picture = tmp_path / "all.png"
    result = score(files / "real.npy", files / "fake.npy", "--png", picture, "--json")
    json.loads(result.stdout)
    with Image.open(picture) as image:
        image.load()
        assert image.height > image.width > 1000


def test_an_embedder_of_ones_own(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`module:function` is looked for where the command is called."""
    (tmp_path / "mine_for_score.py").write_text("def twice(x):\n    return 2 * x.flatten(1).float()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = score(files / "real.npy", files / "fake.npy", "--embedder", "mine_for_score:twice", "--json")
    assert json.loads(result.stdout)["embedder"] == "mine_for_score:twice"


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The exit code of the command line."""
    monkeypatch.setattr(sys, "argv", ["gandiag", "score", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        app.main()
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    ("real", "fake", "options", "says"),
    [
        ("absent.npy", "fake.npy", [], "absent.npy does not exist"),
        ("empty", "fake.npy", [], "holds no images"),
        ("objects.npy", "fake.npy", [], "without pickled objects"),
        ("torn", "fake.npy", [], "cannot read the image"),
        ("real.npy", "nan.npy", [], "150 of 150 fake samples hold NaN or infinity"),
        ("real.npy", "few.npy", [], "at least 16"),
        ("real.npy", "wide.npy", [], "give both the same columns"),
        ("real.npy", "fake.npy", ["--labels", "short.txt"], "3 labels for 300 real samples"),
        ("real.npy", "fake.npy", ["--labels", "absent.txt"], "cannot read labels"),
        ("huge.npy", "huge.npy", [], "leave the range of float32"),
        ("real.npy", "fake.npy", ["--html", "real.npy/x.html"], "name another file"),
        ("real.npy", "fake.npy", ["--html", "empty"], "is a folder"),
        ("real.npy", "fake.npy", ["--png", "x.jpg"], "no .png file and no folder"),
        ("real.npy", "fake.npy", ["--embedder", "identiti"], "Did you mean 'identity'"),
        ("real.npy", "fake.npy", ["--device", "cuda:99"], "cannot compute on device"),
        ("digits.npy", "pixels.npy", [], "not on one scale"),
        ("flipped.npz", "fake.npy", [], "cannot read flipped.npz"),
        ("header.npy", "fake.npy", [], "cannot read header.npy"),
        ("real.npy", "fake.npy", ["--embedder", ":f"], "cannot be loaded"),
        ("real.npy", "fake.npy", ["--device", "meta"], "cannot compute on device 'meta'"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    real: str,
    fake: str,
    options: list[str],
    says: str,
) -> None:
    """Whatever is wrong with the input: one message on stderr, nothing on stdout, no traceback."""
    for name in ("real.npy", "fake.npy"):
        (tmp_path / name).write_bytes((files / name).read_bytes())
    for name, array in (
        ("nan.npy", np.full((150, 2), np.nan)),
        ("few.npy", np.zeros((10, 2))),
        ("huge.npy", np.full((100, 2), 1e300)),
        ("wide.npy", np.zeros((150, 3))),
        ("digits.npy", np.zeros((100, 2)) + np.arange(100)[:, None] / 100),
        ("pixels.npy", np.arange(200, dtype=np.uint8).reshape(100, 2)),
    ):
        np.save(tmp_path / name, array)
    np.savez_compressed(tmp_path / "flipped.npz", x=np.random.default_rng(0).normal(size=(200, 2)))
    archive = bytearray((tmp_path / "flipped.npz").read_bytes())
    archive[60:2000] = bytes(byte ^ 0xFF for byte in archive[60:2000])
    (tmp_path / "flipped.npz").write_bytes(archive)
    whole = (files / "real.npy").read_bytes()
    (tmp_path / "header.npy").write_bytes(whole.replace(b"'descr': ", b"'descr': (", 1).replace(b"  \n", b"\n", 1))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "short.txt").write_text("0\n1\n0\n")
    for folder in ("empty", "torn"):
        (tmp_path / folder).mkdir()
    (tmp_path / "torn" / "a.png").write_bytes(b"\x89PNG")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, real, fake, *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gandiag: ")
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


def test_what_cannot_be_written_is_said_before_the_work(files: Path) -> None:
    """A report below a file is refused at once: the samples are not even read."""
    result = score("absent.npy", files / "fake.npy", "--html", files / "real.npy" / "x.html")
    assert isinstance(result.exception, UsageError)
    assert "x.html" in str(result.exception)


def test_a_folder_that_takes_no_files_is_refused_before_the_work(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is there and cannot be written into: said at once, and not when the scores are there."""

    def denied(**options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", denied)
    result = score("absent.npy", files / "fake.npy", "--html", tmp_path / "x.html")
    assert "x.html: Permission denied" in str(result.exception)


def test_a_report_that_fails_to_be_written_costs_no_scores(files: Path, tmp_path: Path) -> None:
    """What went wrong after all is raised behind the scores, which are printed."""
    (tmp_path / "x.png").mkdir()  # taken for a folder; and in it, one with the name of a file
    (tmp_path / "x.png" / "metrics.png").mkdir()
    result = score(files / "real.npy", files / "fake.npy", "--png", tmp_path / "x.png", "--json")
    assert json.loads(result.stdout)["reading"]["names"] == ["modes missing"]
    assert isinstance(result.exception, UsageError)


def test_the_bar_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stderr is no terminal nothing is drawn; where it is, the bar counts, and then names the work."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with SampleBar({"real": 10}) as bar:
        bar(5, None, "real")
    assert stream.getvalue() == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with SampleBar({"real": 10}) as bar:
        bar(5, None, "real")
        bar._bars.refresh()
        bar(0, None, "metrics")
        bar._bars.refresh()
    assert "embedding real samples" in stream.getvalue()
    assert "5/10" in stream.getvalue()
    assert "measuring" in stream.getvalue()
