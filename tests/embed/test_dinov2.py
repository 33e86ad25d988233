"""DINOv2: found in torch.hub's cache or not at all; a tiny network stands in for the real one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from gandiag.embed import fit
from gandiag.embed._pretrained import IMAGENET
from gandiag.errors import UsageError

# As that of facebookresearch/dinov2: weights come from the cache's checkpoints, by their address.
HUBCONF = """
import torch

def _net(name, pretrained=True):
    net = torch.nn.Sequential(torch.nn.AvgPool2d(224), torch.nn.Flatten(), torch.nn.Linear(3, 4))
    url = f"https://dl.fbaipublicfiles.com/dinov2/{name}/{name}_pretrain.pth"
    net.load_state_dict(torch.hub.load_state_dict_from_url(url, map_location="cpu"))
    return net

def dinov2_vitl14(**kwargs): return _net("dinov2_vitl14", **kwargs)
def dinov2_vitb14(**kwargs): return _net("dinov2_vitb14", **kwargs)
def dinov2_vits14(**kwargs): raise RuntimeError("made for another torch")
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of torch.hub's with the code, and no weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    code = tmp_path / "hub" / "facebookresearch_dinov2_main"
    code.mkdir(parents=True)
    (code / "hubconf.py").write_text(HUBCONF)
    (tmp_path / "hub" / "checkpoints").mkdir()
    return tmp_path / "hub"


def put_weights(hub: Path, name: str) -> torch.nn.Linear:
    layer = torch.nn.Linear(3, 4)
    state = {f"2.{key}": value for key, value in layer.state_dict().items()}
    torch.save(state, hub / "checkpoints" / f"{name}_pretrain.pth")
    return layer


def test_the_largest_network_that_is_there_is_taken_and_named(hub: Path) -> None:
    """Of B and S, B; its images are resized to 224 and prepared as ImageNet's, one channel three times."""
    layer = put_weights(hub, "dinov2_vitb14")
    put_weights(hub, "dinov2_vits14")
    x = torch.rand(3, 1, 28, 28) * 2 - 1
    state = torch.get_rng_state()
    embedding = fit(x, embedder="dinov2")
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    resized = F.interpolate((x + 1) / 2, size=(224, 224), mode="bicubic", antialias=True)
    torch.testing.assert_close(embedding(x), layer(((resized - mean) / deviation).mean(dim=(2, 3))).detach())
    assert torch.equal(torch.get_rng_state(), state)
    assert any("ViT-B/14" in note for note in embedding.notes)
    assert any("three times" in note for note in embedding.notes)


def test_what_is_missing_is_named(hub: Path) -> None:
    """Weights alone, then code and weights: each path is in the message, with the line that gets both."""
    with pytest.raises(UsageError, match="downloads nothing") as caught:
        fit(torch.rand(3, 3, 8, 8), embedder="dinov2")
    assert str(hub / "checkpoints" / "dinov2_vitl14_pretrain.pth") in str(caught.value)
    assert "hubconf.py" not in str(caught.value)
    (hub / "facebookresearch_dinov2_main" / "hubconf.py").unlink()
    with pytest.raises(UsageError, match=r"hubconf\.py and .*torch\.hub\.load"):
        fit(torch.rand(3, 3, 8, 8), embedder="dinov2")


def test_code_that_does_not_run_is_said(hub: Path) -> None:
    """The cache holds the code of others, which may not fit this torch."""
    put_weights(hub, "dinov2_vits14")
    with pytest.raises(UsageError, match="made for another torch"):
        fit(torch.rand(3, 3, 8, 8), embedder="dinov2")
