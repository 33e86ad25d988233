"""Features of samples, one embedder a file.

    features, name = embed(images)                    # picks one; explain(images) says why
    features, name = embed(rows, embedder="identity")
    features, name = embed(clips, embedder="my_project.features:audio_embedding")

An embedder is a function from a batch [n, ...] to features [n, d] float32 on the same device. It must not
wait for the device, touch a global random stream or keep a graph: it runs inside somebody's training loop.
"""

from gandiag.embed.base import EMBEDDERS, Embedder, embed, explain

__all__ = ["EMBEDDERS", "Embedder", "embed", "explain"]
