"""What is recorded of a loop: one probe a file, found by scanning this folder.

A probe reads what the loop has computed anyway and hands over tensors that stay on their device;
`_recorder` keeps a hundred iterations of them, reduces them at once and writes them. So a probe costs the
training step a few small kernels and never a wait.
"""

from gandiag.probes._recorder import Recorder
from gandiag.probes.base import PROBES, Probe, Row, probe

__all__ = ["PROBES", "Probe", "Recorder", "Row", "probe"]
