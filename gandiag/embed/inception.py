"""Inception v3 trained on ImageNet, as torchvision has it, where its weights lie on this disk already.

Source: Szegedy et al. 2016, arXiv:1512.00567; as features for comparing samples, Heusel et al. 2017, arXiv:1706.08500.
The weights are torchvision's and not those that published Fréchet distances are taken with: do not compare with these.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gandiag.embed._pretrained import Recipe, fit_network, load, on_disk
from gandiag.embed.base import Fitted, fitted_embedder
from gandiag.errors import MissingExtra

RECIPE = Recipe(side=299, mode="bilinear", work=2**22)


@fitted_embedder("inception")
def inception(real: Tensor) -> Fitted:
    """The 2,048 numbers before its last layer.

    Args:
        real: [n, c, h, w] images of one or three channels, in [0, 1], [-1, 1] or [0, 255].

    Raises:
        MissingExtra: torchvision is missing, or does not fit torch.
        ShapeError: no images.
        UsageError: values on none of these scales, or the weights are not on this disk.
    """
    return fit_network("inception", real, _network, RECIPE)


def _network() -> nn.Module:
    models = _torchvision_models()
    weights = models.Inception_V3_Weights.IMAGENET1K_V1
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    on_disk(
        "inception",
        [path],
        f'Get it from {weights.url}, or let torchvision do it once: python -c "from torchvision.models import '
        "inception_v3; inception_v3(weights='IMAGENET1K_V1')\"",
    )
    net = load("inception", lambda: models.inception_v3(weights=weights, progress=False))
    net.fc = nn.Identity()
    return net


def _torchvision_models() -> Any:
    try:
        return importlib.import_module("torchvision.models")
    except ImportError as error:
        raise MissingExtra("embedder 'inception' needs torchvision: pip install \"gandiag[torchvision]\"") from error
    except RuntimeError as error:  # a build for another torch
        raise MissingExtra(
            f"embedder 'inception' needs a torchvision that fits torch {torch.__version__}, and the one here cannot be "
            f"imported ({error}): install both from one place"
        ) from error
