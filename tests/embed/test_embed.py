"""The verb: what it picks, what it refuses, what it leaves alone."""

from pathlib import Path

import pytest
import torch

from gandiag.embed import EMBEDDERS, embed, explain
from gandiag.errors import GandiagError, ShapeError, UnknownName, UsageError

SHAPES = [(7, 2), (7, 1, 8, 8), (7, 3, 40, 40), (7, 2, 5000), (7, 9000)]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((name, shape) for name in ("identity", "random_projection") for shape in SHAPES),
        ("random_convolution", (7, 1, 8, 8)),
        ("random_convolution", (7, 3, 40, 40)),
    ],
)
def test_one_float_row_for_each_sample_and_the_global_stream_stays(name: str, shape: tuple[int, ...]) -> None:
    """Every embedder returns [n, d] float32 without a graph, twice the same, and draws from no global stream."""
    x = torch.randn(shape, requires_grad=True)
    state = torch.get_rng_state()
    features, used = embed(x, embedder=name)
    again, _ = embed(x, embedder=name)
    assert used == name
    assert features.dtype == torch.float32
    assert features.ndim == 2
    assert len(features) == 7
    assert not features.requires_grad
    assert torch.equal(features, again)
    assert torch.equal(torch.get_rng_state(), state)


def test_auto_takes_small_samples_as_they_are_and_says_why() -> None:
    """Up to 1,024 numbers a sample describes itself; above, it is projected."""
    small, large = torch.zeros(3, 1, 8, 8), torch.zeros(3, 3, 32, 32)
    assert embed(small)[1] == "identity"
    assert embed(large)[1] == "random_projection"
    assert "64 numbers" in explain(small)
    assert "3,072 numbers" in explain(large)


def test_an_embedder_of_ones_own_by_name() -> None:
    """`module:function` is imported and called."""
    features, name = embed(torch.full((4, 6), 2.0, dtype=torch.float64), embedder="torch:square")
    assert name == "torch:square"
    assert features.dtype == torch.float32
    assert features.unique().item() == 4.0


@pytest.mark.parametrize(
    ("embedder", "says"),
    [
        ("identiti", "Did you mean 'identity'"),
        ("math:pi", "not a function"),
        *((name, "cannot be loaded") for name in ("torch:no_such", ":f", "..x:f", "torch:")),
    ],
)
def test_a_wrong_name_says_what_is_wrong(embedder: str, says: str) -> None:
    """An embedder that does not exist is refused with the cause."""
    with pytest.raises(GandiagError, match=says):
        embed(torch.zeros(2, 2), embedder=embedder)


def test_what_is_no_batch_is_refused() -> None:
    """Samples without numbers, and embedders that lose rows, raise ShapeError."""
    with pytest.raises(ShapeError, match="batch"):
        embed(torch.zeros(0, 3))
    with pytest.raises(ShapeError, match="expected"):
        embed(torch.zeros(4, 3), embedder="torch:sum")


def test_the_registry_finds_the_embedders_by_itself() -> None:
    """No list is kept by hand."""
    found = {"identity", "random_projection", "random_convolution", "pca", "discriminator", "inception", "dinov2"}
    assert found <= set(EMBEDDERS.names())


def test_a_function_is_an_embedder_too() -> None:
    """A function is called as it is, and named after itself."""
    features, name = embed(torch.ones(4, 6), embedder=torch.neg)
    assert name == "neg"
    assert torch.equal(features, -torch.ones(4, 6))
    with pytest.raises(UsageError, match="a name or a function"):
        embed(torch.ones(4, 6), embedder=3)


def test_what_must_be_fitted_is_refused_in_a_training_loop() -> None:
    """Components of one batch would differ from those of the next: the error says what to call."""
    with pytest.raises(UsageError, match=r"fit\(real, embedder='pca'\)"):
        embed(torch.ones(4, 6), embedder="pca")


@pytest.mark.parametrize("text", ["def broken(:", "raise KeyError('no weights here')"])
def test_a_module_that_cannot_be_imported_is_said(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a user's module raises, it is told as the embedder that cannot be loaded."""
    (tmp_path / "embedder_that_breaks.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownName, match=r"'embedder_that_breaks:f' cannot be loaded: (SyntaxError|KeyError)"):
        embed(torch.zeros(2, 3), embedder="embedder_that_breaks:f")


def test_a_function_that_fails_is_named() -> None:
    """An error of a user's function says which embedder failed, on what, and keeps the cause."""

    def mine(x: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("no such luck")

    with pytest.raises(UsageError, match=r"'mine' failed on samples of shape \[2, 3\]: ZeroDivisionError") as caught:
        embed(torch.zeros(2, 3), embedder=mine)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
