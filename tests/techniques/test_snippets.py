"""The lines on the cards are the techniques: pasted into a script they compute the same."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
import torch
from helpers.gan_loops import D, G, ring
from torch import Tensor, nn
from torch.nn import functional

from gandiag.remediate.snippet import snippet
from gandiag.techniques import parse
from gandiag.techniques.ema import EMA
from gandiag.techniques.virtual_batch_norm import Moments


def pasted(text: str, **names: Any) -> dict[str, Any]:
    """The names after the lines have run."""
    scope = {"torch": torch, "nn": nn, "F": functional, **names}
    exec(compile(snippet([text]), text, "exec"), scope)  # what the reader of the card does
    return scope


@pytest.mark.parametrize("shape", [(16, 6), (16, 6, 4, 4), (16, 6, 6, 6)])
def test_virtual_batch_norm(shape: tuple[int, ...]) -> None:
    """Of vectors and of pictures: moments over samples and places, as the technique has them."""

    class Layer(nn.Module):
        norm = nn.BatchNorm1d(6) if len(shape) == 2 else nn.BatchNorm2d(6)

    layer = Layer()
    nn.init.normal_(layer.norm.weight)
    nn.init.normal_(layer.norm.bias)
    h, reference = torch.randn(shape), torch.randn(shape)
    wanted = Moments.of(reference).with_each(h).normalise(h, layer.norm)
    found = pasted("virtual_batch_norm", self=layer, h=h, reference=reference)["h"]
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("compensation", ["static", "dynamic"])
def test_spectral_regularisation(compensation: str) -> None:
    """Both compensations, while the weights move."""
    text = f"spectral_regularisation:compensation={compensation}"
    ours, theirs = D(), D()
    theirs.load_state_dict(ours.state_dict())
    technique = parse(text)
    technique.prepare(ours, beside={}, generator=torch.Generator())
    pasted(text, D=theirs)
    for _ in range(4):
        weights = technique.weights(ours, training=True, update=True)
        for name in ("first", "middle", "last"):
            layer = getattr(theirs, name)
            torch.testing.assert_close(layer.weight, weights[getattr(ours, name)], rtol=1e-4, atol=1e-5)
            with torch.no_grad():
                step = torch.randn_like(layer.parametrizations.weight.original)
                layer.parametrizations.weight.original.add_(step)
                getattr(ours, name).weight.add_(step)


@pytest.mark.parametrize("past", [0, 1])
def test_extra_adam(past: int) -> None:
    """Six steps of one parameter, looking ahead along this gradient or along the last one."""
    text = f"extra_adam:past={past}"
    technique = parse(text)
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0, 3.0])) for _ in range(2))
    states: dict[str, dict[nn.Parameter, Any]] = {name: {theirs: 0} for name in "mvt"}
    kept: dict[nn.Parameter, Tensor] = {}
    for step in range(6):
        for p in (ours, theirs):
            p.grad = p.detach() * (step + 1) - 1
        technique.take_step(role="d", groups=[{"params": [ours], "lr": 0.1}])
        with torch.no_grad():
            pasted(text, parameters=[theirs], kept=kept, lr_script=0.1, **states)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("shape", "packed"), [((16, 6), (4, 24)), ((16, 3, 8, 8), (4, 12, 8, 8))])
def test_pacgan(shape: tuple[int, ...], packed: tuple[int, ...]) -> None:
    """Vectors are joined into longer ones, pictures into more channels."""
    seen: list[Tensor] = []
    x = torch.randn(shape)
    pasted("pacgan:m=4", D=seen.append, x=x)
    assert seen[0].shape == packed
    assert torch.equal(seen[0][1], x[4:8].flatten(0, 1))


def test_ema() -> None:
    """Parameters are averaged, buffers copied."""
    g, average = (nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)) for _ in range(2))
    technique = EMA(decay=0.5)
    technique.start([average])
    g(torch.randn(8, 2))
    technique.after_g_step([g])
    pasted("ema:decay=0.5", G=g, G_ema=average)
    for name, value in average.state_dict().items():
        torch.testing.assert_close(value, technique.averages()[name])


def test_consensus() -> None:
    """In a loop that steps D before G, whose graphs are gone by then."""
    g, d = G(), D()
    names = {
        "d_loss": lambda real, fake: functional.softplus(-real).mean() + functional.softplus(fake).mean(),
        "g_loss": lambda fake: functional.softplus(-fake).mean(),
        "z": torch.randn(16, 2),
        "x_real": ring()[0],
        "G": g,
        "D": d,
    }
    lines = snippet(["consensus"])
    of_g = next(line for line in lines.splitlines() if line.startswith("loss_g"))
    fake = g(names["z"])
    scope = {"torch": torch, **names, "loss_d": names["d_loss"](d(names["x_real"]), d(fake.detach()))}
    exec(lines.replace(of_g, ""), scope)
    scope["loss_d"].backward()
    with torch.no_grad():
        for p in d.parameters():
            p -= 0.1 * p.grad
    scope["loss_g"] = names["g_loss"](d(fake))
    exec(textwrap.dedent(of_g), scope)
    scope["loss_g"].backward()
    assert all(p.grad.isfinite().all() for p in g.parameters())
