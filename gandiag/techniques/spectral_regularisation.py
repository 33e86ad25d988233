"""Spectral regularisation: divide D's weights by their largest singular value, and lift the others that have sunk."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques._layers import LAYERS, TRANSPOSED
from gandiag.techniques.base import Beside, Card, Technique, own_weight, positive, technique
from gandiag.techniques.spectral_norm import as_matrix

COMPENSATIONS = ("static", "dynamic")


def lifted(
    matrix: Float[Tensor, "out rest"],
    u: Float[Tensor, "out r"],
    v: Float[Tensor, "rest r"],
    ratios: Float[Tensor, " r"],
) -> Float[Tensor, "out rest"]:
    """(W + dW) / sigma_1, dW lifting the k-th singular value to `ratios[k]` times the first.

    The singular vectors are constants of the graph, sigma_k = u_k^T W v_k is not, as in the paper's gradient.
    Source: Liu et al. 2019, arXiv:1908.10999, section 4.

    Args:
        matrix: a weight W.
        u: its first left singular vectors, as columns.
        v: its first right ones.
        ratios: for each of them, what its value shall be over the largest; those beyond stay as they are.
    """
    sigma = (u * (matrix @ v)).sum(dim=0)
    return (matrix + (u * (ratios * sigma[0] - sigma)) @ v.t()) / sigma[0]


@dataclass
class _Spectrum:
    """What is remembered of one weight: singular vectors, and the highest sigma_k / sigma_1 so far."""

    u: Tensor
    v: Tensor
    highest: Tensor
    forwards: int = 0


@technique(
    Card(
        name="spectral_regularisation",
        summary="Divides each weight of D by its largest singular value and lifts the other singular values that sink.",
        treats={"GD101": 0.4, "GD104": 0.4, "GD105": 0.35, "GD201": 0.4, "GD203": 0.35, "GD301": 0.5, "GD303": 0.35},
        source="Liu et al. 2019, arXiv:1908.10999, section 4",
        seams=("networks",),
        cost=4.6,
        cautions=(
            "a singular value decomposition of each weight of D at each forward: for wide layers raise every",
            "D's learning rate may have to be raised",
            "the script's checkpoints keep the weights before normalisation",
        ),
        conflicts=("spectral_norm",),
        restart=True,
        snippet="""\
class Lift(nn.Module):                        # at each forward; every={every} keeps u and vh for so many of them
    highest = 0.0
    def forward(self, weight):
        matrix = weight.flatten(1)
        u, s, vh = torch.linalg.svd(matrix.detach(), full_matrices=False)
        sigma = (u * (matrix @ vh.t())).sum(0)
        self.highest = torch.maximum(s / s[0], torch.as_tensor(self.highest))
        first = torch.arange(len(s), device=s.device) < max(1, int({share} * len(s)))
        static, dynamic = first * (sigma[0] - sigma), self.highest * sigma[0] - sigma
        return ((matrix + u * {compensation} @ vh) / sigma[0]).view_as(weight)

for layer in D.modules():
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        torch.nn.utils.parametrize.register_parametrization(layer, "weight", Lift())""",
    )
)
@dataclass
class SpectralRegularisation(Technique):
    """Spectral regularisation of D's linear and convolutional layers.

    Like `spectral_norm` it leaves the script's modules alone: weights are put in place for each forward.

    Attributes:
        compensation: "static" lifts the first singular values to the largest; "dynamic" lifts each to the highest
            share of the largest that it has ever had.
        share: of singular values that "static" lifts, in (0, 1].
        every: decompose at each n-th forward in train mode; in between the singular vectors stay, and the values
            along them follow the weight.
    """

    compensation: str = "static"
    share: float = 0.5
    every: int = 1
    _groups: dict[nn.Module, list[list[nn.Module]]] = field(default_factory=dict, init=False, repr=False)
    _spectra: dict[nn.Module, _Spectrum] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse compensations that are none."""
        positive("spectral_regularisation", every=self.every)
        if self.compensation not in COMPENSATIONS:
            raise UsageError(
                f"technique 'spectral_regularisation': compensation must be {' or '.join(COMPENSATIONS)}, "
                f"got {self.compensation!r}"
            )
        if not 0 < self.share <= 1:
            raise UsageError(f"technique 'spectral_regularisation': share must lie in (0, 1], got {self.share}")

    def prepare(self, d: nn.Module, *, beside: Beside, generator: torch.Generator) -> None:
        """Decompose each weight as it is at the start."""
        # A layer that the script normalises itself has its weight elsewhere and stays as it is.
        layers = [layer for layer in d.modules() if isinstance(layer, LAYERS) and "weight" in layer._parameters]
        if not layers:
            raise TechniqueRefused(
                f"spectral_regularisation found no linear or convolutional layer in {type(d).__name__} that is not "
                "normalised already; use r1, or rpgan_r1_r2"
            )
        self._groups[d] = [[layer, *beside.get(layer, [])] for layer in layers]
        for group in self._groups[d]:
            self._spectra[group[0]] = _decomposed(_matrix(group))

    def weights(self, d: nn.Module, *, training: bool, update: bool) -> dict[nn.Module, Tensor]:
        """Each layer's weight, normalised and lifted."""
        changed: dict[nn.Module, Tensor] = {}
        for group in self._groups[d]:
            matrix = _matrix(group)
            spectrum = self._spectra[group[0]]
            if training and update:
                if spectrum.forwards % self.every == 0:
                    spectrum = _decomposed(matrix, after=spectrum)
                    self._spectra[group[0]] = spectrum
                spectrum.forwards += 1
            ratios = self._ratios(spectrum.highest)
            whole = lifted(matrix, spectrum.u[:, : len(ratios)], spectrum.v[:, : len(ratios)], ratios)
            widths = [_as_matrix(layer).shape[1] for layer in group]
            for layer, block in zip(group, torch.split(whole, widths, dim=1), strict=True):
                changed[layer] = _as_weight(block, layer)
        return changed

    def _ratios(self, highest: Tensor) -> Tensor:
        if self.compensation == "dynamic":
            return highest
        return torch.ones_like(highest[: max(1, int(self.share * len(highest)))])


def _decomposed(matrix: Tensor, *, after: _Spectrum | None = None) -> _Spectrum:
    u, sigma, vh = torch.linalg.svd(matrix.detach(), full_matrices=False)
    ratios = sigma / sigma[0]
    if after is None:
        return _Spectrum(u, vh.t(), ratios)
    return _Spectrum(u, vh.t(), torch.maximum(after.highest, ratios), after.forwards)


def _as_matrix(layer: nn.Module) -> Tensor:
    weight = own_weight("spectral_regularisation", layer)
    return as_matrix(weight, transposed=isinstance(layer, TRANSPOSED))


def _as_weight(matrix: Tensor, layer: nn.Module) -> Tensor:
    """The inverse of `_as_matrix`."""
    weight = own_weight("spectral_regularisation", layer)
    if isinstance(layer, TRANSPOSED):
        return matrix.reshape(weight.transpose(0, 1).shape).transpose(0, 1)
    return matrix.reshape(weight.shape)


def _matrix(group: list[nn.Module]) -> Tensor:
    """The weights of layers that stand side by side, as one matrix."""
    blocks = [_as_matrix(layer) for layer in group]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)
