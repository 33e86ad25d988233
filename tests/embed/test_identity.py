import torch

from gandiag.embed import embed


def test_identity_flattens_and_changes_no_number() -> None:
    """The features are the sample's own numbers in order."""
    x = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 2, 2)
    features, _ = embed(x, embedder="identity")
    assert torch.equal(features, torch.arange(24.0).reshape(2, 12))
