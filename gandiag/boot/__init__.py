"""Watching a script that knows nothing of gandiag: `gandiag run -- python train.py`.

The folder `site` is put first on PYTHONPATH, so that Python runs its `sitecustomize` at start-up; that one
runs any other sitecustomize it shadows and waits for torch to be imported; then `attach` taps torch. A
process that never imports torch pays for one entry in sys.meta_path, and one that never steps an optimizer
(a launcher, a DataLoader worker) leaves nothing behind.
"""
