"""Training frameworks that own the loop: one module each, which imports its framework only when it is imported.

    from gandiag.integrations.lightning import GandiagCallback

A framework that leaves the loop to the script (Accelerate, Fabric, Ignite) needs nothing here: `gandiag.watch` and
`gandiag run` see it as they see any other loop.
"""
