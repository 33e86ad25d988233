"""Small pictures of samples that are images."""

from __future__ import annotations

import torch
from torch import Tensor

#: Pictures of each side, and pixels of their longer side, at most.
THUMBS, PIXELS = 64, 64


def thumbnails(*, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """A few samples of each side as uint8 images (k, h, w, c); empty if the samples are no images.

    Both are scaled by the real samples' range: scaled each by its own, a washed-out fake would look fine.

    Args:
        real: samples of any shape; (n, h, w) and (n, c, h, w) with 1 or 3 channels are taken for images.
        fake: the same.
    """
    if real.ndim not in (3, 4) or real.shape[1:] != fake.shape[1:]:
        return {}
    if (real.ndim == 4 and real.shape[1] not in (1, 3)) or min(real.shape[-2:]) < 4:
        return {}
    low, high = real.amin(), real.amax()
    images = {}
    for name, x in (("thumbs_real", real[-THUMBS:]), ("thumbs_fake", fake[-THUMBS:])):
        x = x.unsqueeze(1) if x.ndim == 3 else x
        step = -(-max(x.shape[-2:]) // PIXELS)
        x = x[..., ::step, ::step]
        scaled = ((x - low) / (high - low).clamp_min(1e-12)).nan_to_num(0.0).clamp(0, 1) * 255
        images[name] = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return images
