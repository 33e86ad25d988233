"""A training script that knows nothing of gandiag: `python one_idiom.py MODULE.FUNCTION` trains one idiom.

It prints one JSON object: the fingerprint of all that was trained, and how often D was called for which step.
"""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from loops._training import STEPS, fingerprint, name, train
from loops.idioms import IDIOMS, Truth


def main() -> None:
    torch.set_num_threads(1)
    (idiom,) = [idiom for idiom in IDIOMS if name(idiom) == sys.argv[1]]
    truth = Truth(STEPS)
    things = train(idiom, truth)
    print(json.dumps({"fingerprint": fingerprint(things), "calls": sum(truth.values())}))


if __name__ == "__main__":
    main()
