"""Inception: what is said where it is missing, how pixels are prepared; a tiny network stands in for the real one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gandiag.embed import embed, fit
from gandiag.embed._pretrained import IMAGENET, Recipe, prepare, scale
from gandiag.errors import MissingExtra, ShapeError, UsageError

FILE = "inception_v3_google-0cc3c7bd.pth"


class Tiny(nn.Module):
    """As much of Inception as gandiag touches: an image [n, 3, 299, 299] to its last layer `fc`."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 8)
        self.fc = nn.Linear(8, 1000)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1:] == (3, 299, 299)
        assert not self.training
        return self.fc(self.body(x.mean(dim=(2, 3))))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub"


@pytest.fixture
def torchvision(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torchvision that has one network, and reads its weights from the cache as the real one does."""
    weights = SimpleNamespace(url=f"https://download.pytorch.org/models/{FILE}")

    def inception_v3(*, weights: SimpleNamespace, progress: bool) -> nn.Module:
        net = Tiny()
        net.load_state_dict(torch.load(hub / "checkpoints" / Path(weights.url).name, weights_only=True))
        return net

    models = ModuleType("torchvision.models")
    models.Inception_V3_Weights = SimpleNamespace(IMAGENET1K_V1=weights)
    models.inception_v3 = inception_v3
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)


def put_weights(hub: Path) -> Tiny:
    net = Tiny()
    (hub / "checkpoints").mkdir(parents=True)
    torch.save(net.state_dict(), hub / "checkpoints" / FILE)
    return net


@pytest.mark.usefixtures("torchvision")
def test_features_are_those_before_the_last_layer(hub: Path) -> None:
    """Pixels from 0 to 255 go through the network as ImageNet's do, and the notes say what was done to them."""
    net = put_weights(hub)
    x = torch.randint(0, 256, (5, 3, 20, 30), dtype=torch.uint8)
    state = torch.get_rng_state()
    embedding = fit(x, embedder="inception")
    features = embedding(x, batch=2)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    resized = F.interpolate(x / 255, size=(299, 299), mode="bilinear", antialias=True)
    torch.testing.assert_close(features, net.body(((resized - mean) / deviation).mean(dim=(2, 3))).detach())
    assert torch.equal(torch.get_rng_state(), state)
    said = " ".join(embedding.notes)
    assert "[0, 255]" in said
    assert "20 x 30 pixels were resized to 299 x 299" in said


@pytest.mark.usefixtures("torchvision")
def test_missing_weights_are_named_with_their_place_and_their_source(hub: Path) -> None:
    """Nothing is downloaded: the error holds the path, the address and the line that gets them."""
    with pytest.raises(UsageError) as caught:
        fit(torch.rand(5, 3, 8, 8), embedder="inception")
    for part in (str(hub / "checkpoints" / FILE), "https://download.pytorch.org", "downloads nothing", "TORCH_HOME"):
        assert part in str(caught.value)


@pytest.mark.usefixtures("torchvision")
def test_weights_that_cannot_be_read_are_refused(hub: Path) -> None:
    """A torn download is told from a missing one."""
    put_weights(hub)
    (hub / "checkpoints" / FILE).write_bytes(b"torn")
    with pytest.raises(UsageError, match="get it anew"):
        fit(torch.rand(5, 3, 8, 8), embedder="inception")


@pytest.mark.parametrize(
    ("error", "says"), [(ImportError("none"), r"gandiag\[torchvision\]"), (RuntimeError("nms"), "that fits torch")]
)
def test_a_missing_torchvision_is_an_extra(error: Exception, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not installed, and installed for another torch, are two things."""

    def refuse(name: str, *args: object) -> ModuleType:
        if name == "torchvision.models":
            raise error
        return real(name, *args)

    real = importlib.import_module
    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(MissingExtra, match=says):
        fit(torch.rand(5, 3, 8, 8), embedder="inception")


def test_in_a_training_loop_it_is_refused() -> None:
    """`embed` sees one batch and cannot know the scale of the pixels: it says what to call."""
    with pytest.raises(UsageError, match="has to be fitted"):
        embed(torch.rand(5, 3, 8, 8), embedder="inception")


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (torch.tensor([0, 7], dtype=torch.uint8), (0, 255)),
        (torch.tensor([0.0, 0.3]), (0, 1)),
        (torch.tensor([-0.2, 1.015]), (-1, 1)),
        (torch.tensor([0.0, 200.0]), (0, 255)),
    ],
)
def test_the_scale_of_the_pixels_is_read_from_the_real_ones(x: Tensor, expected: tuple[int, int]) -> None:
    """Bytes, [0, 1], [-1, 1] and [0, 255] are told apart by the values, with a little room."""
    assert scale(x, "any") == expected


def test_pixels_on_no_scale_are_refused() -> None:
    """Standardised pixels have no black and no white; their range is said."""
    with pytest.raises(UsageError, match="from -2 to 3"):
        scale(torch.tensor([-2.0, 3.0]), "any")


def test_prepared_pixels_by_hand() -> None:
    """Two pixels of one channel, white and a black that a generator overshot, become three channels and no clip."""
    x = torch.tensor([[[[1.0, -1.5]]]])
    found = prepare(x, scale=(-1.0, 1.0), recipe=Recipe(side=2, mode="bilinear", work=1))
    for channel, (mean, deviation) in enumerate(zip(*IMAGENET, strict=True)):
        expected = torch.tensor([(1 - mean) / deviation, (-0.25 - mean) / deviation])
        torch.testing.assert_close(found[0, channel, 0], expected)
    assert found.shape == (1, 3, 2, 2)


@pytest.mark.parametrize(("shape", "says"), [((5, 2, 8, 8), "2 x 8 x 8"), ((5, 64), "64"), ((5, 8, 8, 3), "movedim")])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...], says: str) -> None:
    """Before anything is loaded: one or three channels, first."""
    with pytest.raises(ShapeError, match=says):
        fit(torch.rand(shape), embedder="inception")
