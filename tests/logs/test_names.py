"""The names of columns as people write them."""

from __future__ import annotations

import pytest

from gandiag.logs._axis import is_axis
from gandiag.logs._names import meaning

LOSS_D = [
    "loss_D",
    "D_loss",
    "d_loss",
    "errD",
    "lossD",
    "dloss",
    "Loss/D",
    "Loss/D/loss",
    "loss/discriminator",
    "critic_loss",
    "loss_disc",
    "disc_loss",
    "l_d",
    "DiscriminatorLoss",
    "netD_loss",
    "train/d_loss",
    "d_loss_step",
    "loss/d",
    "discriminator/loss",
    "loss_D/loss",
    "loss.critic",
    "D-loss",
]
LOSS_G = [
    "loss_G",
    "G_loss",
    "g_loss",
    "errG",
    "lossG",
    "gloss",
    "Loss/G/loss",
    "loss/generator",
    "gen_loss",
    "loss_gen",
    "GeneratorLoss",
    "L_G",
]


@pytest.mark.parametrize("name", LOSS_D)
def test_losses_of_d(name: str) -> None:
    """Each of these is D's loss."""
    found = meaning(name)
    assert found is not None
    assert (found.column, found.spare) == ("loss/d", 0)


@pytest.mark.parametrize("name", LOSS_G)
def test_losses_of_g(name: str) -> None:
    """Each of these is G's loss."""
    found = meaning(name)
    assert found is not None
    assert (found.column, found.spare) == ("loss/g", 0)


@pytest.mark.parametrize(
    ("name", "kind", "column"),
    [
        ("Loss/scores/real", "score", "d/logits/real/mean"),
        ("real_score", "score", "d/logits/real/mean"),
        ("train/logits_fake", "score", "d/logits/fake/mean"),
        ("critic_score_fake", "score", "d/logits/fake/mean"),
        ("Loss/signs/fake", "sign", "d/logits/fake/positive"),
        ("D(x)", "probability", "d/logits/real/mean"),
        ("D(G(z))", "probability", "d/logits/fake/mean"),
        ("D_G_z2", "probability", "g/logits/fake/mean"),
        ("p_real", "probability", "d/logits/real/mean"),
        ("D_acc", "accuracy", "d/accuracy"),
        ("real_acc", "accuracy", "d/logits/real/positive"),
        ("grad_norm_D", "norm", "grad/d/total"),
        ("G/gradNorm", "norm", "grad/g/total"),
        ("grad/g/net.0.weight", "own", "grad/g/net.0.weight"),
    ],
)
def test_everything_else_that_is_known(name: str, kind: str, column: str) -> None:
    """Scores, signs, probabilities, accuracies and norms are told apart by their names."""
    found = meaning(name)
    assert found is not None
    assert (found.kind, found.column) == (kind, column)


@pytest.mark.parametrize(
    "name",
    [
        "loss",
        "gradient_penalty",
        "gp",
        "Loss/r1_penalty",
        "Loss/D/reg",
        "d_loss_real",
        "loss_fake_D",
        "adv_loss",
        "grad_2.0_norm_total",
        "perceptual_loss",
        "D_grad",
    ],
)
def test_parts_are_never_taken_for_the_whole(name: str) -> None:
    """A penalty, half of a loss, a loss of nobody: looked at for NaN, and never read as D's or G's."""
    found = meaning(name)
    assert found is not None
    assert (found.kind, found.column) == ("part", None)


@pytest.mark.parametrize("name", ["D", "G", "D_real", "D_fake", "critic/real"])
def test_two_readings_are_none(name: str) -> None:
    """`D_real` is a loss to some and a score to others."""
    found = meaning(name)
    assert found is not None
    assert (found.kind, found.column) == ("unclear", None)


@pytest.mark.parametrize(
    "name",
    [
        "lr",
        "lr_D",
        "fid",
        "FID50k_full",
        "time",
        "Timing/Gmain",
        "val/d_loss",
        "test_loss_D",
        "accuracy",
        "aux_acc",
        "d_weight",
        "weights/D",
    ],
)
def test_what_is_not_the_training_is_left_alone(name: str) -> None:
    """Learning rates, metrics, timings, validation: a NaN in them is no broken training."""
    assert meaning(name) is None


@pytest.mark.parametrize("name", ["epoch", "step", "Iteration", "global_step", "Progress/kimg", "cur_nimg", "n_iter"])
def test_axes(name: str) -> None:
    """What counts the training is no series."""
    assert is_axis(name)
    assert meaning(name) is None


def test_the_plainer_name_is_the_better_one() -> None:
    """`loss_G` beats `loss_G_L1`, which is read only where nothing better is there."""
    whole, part = meaning("loss_G"), meaning("loss_G_L1")
    assert whole is not None
    assert part is not None
    assert whole.column == part.column
    assert whole.spare < part.spare
