"""DINOv2, a vision transformer trained without labels, where its code and weights lie in torch.hub's cache already.

Source: Oquab et al. 2023, arXiv:2304.07193; as features for comparing samples, Stein et al. 2023, arXiv:2306.04675,
who recommend it over Inception.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gandiag.embed._pretrained import Recipe, fit_network, load, on_disk
from gandiag.embed.base import Fitted, fitted_embedder
from gandiag.errors import UsageError

RECIPE = Recipe(side=224, mode="bicubic", work=2**22)
SIZES = {"dinov2_vitl14": "ViT-L/14", "dinov2_vitb14": "ViT-B/14", "dinov2_vits14": "ViT-S/14"}
"""The networks that are looked for, the largest first: it is the one that Stein et al. compare with."""


@fitted_embedder("dinov2")
def dinov2(real: Tensor) -> Fitted:
    """The class token of the largest of its networks that is on this disk: 1,024, 768 or 384 numbers.

    Args:
        real: [n, c, h, w] images of one or three channels, in [0, 1], [-1, 1] or [0, 255].

    Raises:
        ShapeError: no images.
        UsageError: values on none of these scales, or code or weights are not on this disk.
    """
    chosen: list[str] = []
    fitted = fit_network("dinov2", real, lambda: _network(chosen), RECIPE)
    return fitted._replace(notes=(*fitted.notes, f"the network is DINOv2's {SIZES[chosen[0]]}, found on this disk"))


def _network(chosen: list[str]) -> nn.Module:
    hub = Path(torch.hub.get_dir())
    code = hub / "facebookresearch_dinov2_main"
    weights = {name: hub / "checkpoints" / f"{name}_pretrain.pth" for name in SIZES}
    here = [name for name, path in weights.items() if path.exists()]
    chosen[:] = here[:1] or list(SIZES)[:1]
    on_disk(
        "dinov2",
        [code / "hubconf.py", weights[chosen[0]]],
        f"Let torch.hub get both once: python -c \"import torch; torch.hub.load('facebookresearch/dinov2', "
        f"'{chosen[0]}')\"",
    )
    return load("dinov2", lambda: _from_hub(code, chosen[0]))


def _from_hub(code: Path, name: str) -> nn.Module:
    net = torch.hub.load(str(code), name, source="local", verbose=False)  # type: ignore[no-untyped-call]
    if not isinstance(net, nn.Module):
        raise UsageError(f"{code} made {type(net).__name__} of {name}, not a network")
    return net
