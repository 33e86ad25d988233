"""A convolution layer and its pooling, one pixel after the other."""

from __future__ import annotations

import numpy as np


def layer(image, weight):
    """3 x 3 correlation [c, h, w] -> [k, h, w] with the rim repeated, then ReLU."""
    channels, height, width = image.shape
    out = np.zeros((len(weight), height, width))
    for k in range(len(weight)):
        for y in range(height):
            for x in range(width):
                total = 0.0
                for c in range(channels):
                    for dy in (-1, 0, 1):
                        for dx in (-1, 0, 1):
                            near = image[c, min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]
                            total += near * weight[k, c, dy + 1, dx + 1]
                out[k, y, x] = max(total, 0.0)
    return out


def halved(image):
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    channels, height, width = image.shape
    out = np.zeros((channels, height // 2, width // 2))
    for y in range(height // 2):
        for x in range(width // 2):
            out[:, y, x] = image[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(axis=(1, 2))
    return out


def cells(image, count: int):
    """Means over count x count cells, which share a pixel where the sides are not multiples."""
    channels, height, width = image.shape
    out = np.zeros((channels, count, count))
    for i in range(count):
        for j in range(count):
            rows = slice(i * height // count, -(-(i + 1) * height // count))
            columns = slice(j * width // count, -(-(j + 1) * width // count))
            out[:, i, j] = image[:, rows, columns].mean(axis=(1, 2))
    return out
