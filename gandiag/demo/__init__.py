"""Small data sets and plain training scripts that know nothing of gandiag.

Each script runs by itself (`python gandiag/demo/ring.py --seed 3`); `gandiag demo NAME` runs the same file
under observation. They are here to be watched, so nothing in this folder imports the rest of gandiag.
"""
