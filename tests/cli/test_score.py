"""`gandiag score`: samples from files."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from gandiag.errors import UsageError
from gandiag_cli.app import build
from gandiag_cli.samples import load_labels, load_samples


def score(*words: object) -> Result:
    return CliRunner().invoke(build(), ["score", *map(str, words)])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two blobs, of which the fakes have one."""
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(-5, 1, (150, 2)), rng.normal(5, 1, (150, 2))])
    paths = tmp_path / "real.npy", tmp_path / "fake.npy"
    np.save(paths[0], real)
    np.save(paths[1], rng.normal(5, 1, (150, 2)).astype(np.float32))
    np.savetxt(tmp_path / "labels.txt", np.repeat([0, 1], 150), fmt="%d")
    return paths


def test_it_prints_each_metric_with_its_reading(files: tuple[Path, Path]) -> None:
    """Half of the data is never generated, and that is what it says."""
    result = score(*files, "--labels", files[0].with_name("labels.txt"))
    assert result.exit_code == 0, result.output
    assert "of the real data is never generated" in " ".join(result.stdout.split())
    assert "1 of 2 modes captured (from your labels): 1 missing" in result.stdout


def test_json_is_all_there_is_on_stdout(files: tuple[Path, Path]) -> None:
    """One strict JSON object with metrics and their nulls."""
    found = json.loads(score(*files, "--json").stdout, parse_constant=pytest.fail)
    assert found["metrics"]["coverage"]["value"] < found["metrics"]["coverage"]["null_low"]


def test_files_of_every_kind_hold_the_same_samples(files: tuple[Path, Path], tmp_path: Path) -> None:
    """NumPy files, archives with one array or a named one, and safetensors with half precision."""
    array = np.load(files[0])
    np.savez(tmp_path / "one.npz", samples=array)
    np.savez(tmp_path / "two.npz", samples=array, other=array[:3])
    save_file({"x": torch.from_numpy(array).to(torch.bfloat16)}, tmp_path / "x.safetensors")
    wanted = array.astype(np.float32)
    for text in ("real.npy", "one.npz", "two.npz:samples"):
        assert np.array_equal(load_samples(str(tmp_path / text)), wanted)
    assert np.allclose(load_samples(str(tmp_path / "x.safetensors")), wanted, rtol=0.01)
    with pytest.raises(UsageError, match=r"other, samples. Name one of them as .*two\.npz:NAME"):
        load_samples(str(tmp_path / "two.npz"))


def test_a_folder_of_images(tmp_path: Path) -> None:
    """Images become [n, c, h, w] in 0..1: grey if all are grey, and all of one size."""
    pillow = pytest.importorskip("PIL.Image")
    for index in range(3):
        pillow.fromarray(np.full((4, 6), 51 * index, dtype=np.uint8)).save(tmp_path / f"{index}.png")
    samples = load_samples(str(tmp_path))
    assert samples.shape == (3, 1, 4, 6)
    assert np.allclose(samples[:, 0, 0, 0], [0, 0.2, 0.4])
    pillow.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(tmp_path / "colour.png")
    assert load_samples(str(tmp_path)).shape == (4, 3, 4, 6)
    pillow.fromarray(np.zeros((5, 6), dtype=np.uint8)).save(tmp_path / "tall.png")
    with pytest.raises(UsageError, match="resize all images to one size"):
        load_samples(str(tmp_path))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """An array of objects could run code when it is loaded: it is refused."""
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="pickled"):
        load_samples(str(tmp_path / "evil.npy"))


@pytest.mark.parametrize(
    ("name", "content", "cure"),
    [
        ("missing.npy", None, "does not exist"),
        ("torn.npy", b"\x93NUMPY", "save it again"),
        ("torn.npz", b"PK", "save it again"),
        ("torn.safetensors", b"\xff" * 20, "save it again"),
        ("weights.pt", b"x", "expected .npy"),
    ],
)
def test_what_can_not_be_read_says_what_to_do(tmp_path: Path, name: str, content: bytes | None, cure: str) -> None:
    """Missing, torn and foreign files are one message each."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=cure):
        load_samples(str(tmp_path / name))


def test_samples_and_labels_must_be_numbers(tmp_path: Path) -> None:
    """Text is no sample, a fraction no label, an empty folder no set of images."""
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    np.save(tmp_path / "fractions.npy", np.array([0.5, 1.5]))
    (tmp_path / "labels.txt").write_text("0\none\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="one sample a row"):
        load_samples(str(tmp_path / "text.npy"))
    with pytest.raises(UsageError, match="one whole number"):
        load_labels(tmp_path / "fractions.npy")
    with pytest.raises(UsageError, match="one whole number a line"):
        load_labels(tmp_path / "labels.txt")
    with pytest.raises(UsageError, match="holds no images"):
        load_samples(str(tmp_path / "empty"))


def test_without_pillow_the_line_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays need no Pillow, folders of images do."""
    from gandiag.errors import MissingExtra

    def missing(name: str) -> None:
        raise ImportError(name)

    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match="pip install pillow"):
        load_samples(str(tmp_path))
