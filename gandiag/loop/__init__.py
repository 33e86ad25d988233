"""A GAN's training loop, seen from outside.

`Observer` turns what torch does (module calls, backward passes, optimizer steps) into two kinds of event:
a `Call` of a network and a `Step` of an optimizer, each with its role (generator or discriminator) and,
once an optimizer has stepped, with what the call was for. Nothing here knows of probes or techniques.

How it is told who is who, in five sentences: parameters belong to the optimizer that holds them. A *unit*
is the outermost module whose optimised parameters share one owner. Data flows from the generator's units
into the discriminator's. What a call was for is settled by the optimizer that steps next, if a gradient
reached the call's output. No names are needed, and what cannot be told is called unknown, never guessed.
"""

from gandiag.loop.calls import Call, Step, Tally
from gandiag.loop.listener import Director, Listener
from gandiag.loop.observer import Observer
from gandiag.loop.roles import Roles

__all__ = ["Call", "Director", "Listener", "Observer", "Roles", "Step", "Tally"]
