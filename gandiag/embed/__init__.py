"""Features of samples, one embedder a file.

    embedding = fit(real)                              # picks one; embedding.reason says why, .notes what it does
    real, fake = embedding(real), embedding(fake)
    embedding = fit(real, embedder="pca")              # embedding.spent: the rows that it learned from
    embedding = fit(real, embedder=features_of(D))
    embedding = fit(clips, embedder="my_project.features:audio_embedding")

    features, name = embed(batch)                      # the same choice for a batch in a training loop

An embedder is a function from a batch [n, ...] to features [n, d] on the same device. One that runs in a training
loop must not wait for the device, touch a global random stream or keep a graph; one that is fitted may do so while it
is fitted.
"""

from gandiag.embed._fit import Embedding, fit
from gandiag.embed.base import EMBEDDERS, Embedder, embed, explain, refuse_unfit_for_loops
from gandiag.embed.discriminator import features_of

__all__ = ["EMBEDDERS", "Embedder", "Embedding", "embed", "explain", "features_of", "fit", "refuse_unfit_for_loops"]
