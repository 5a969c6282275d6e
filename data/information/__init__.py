"""What two modalities tell about a label, together and each alone.

Import from the submodules: the names of the atoms do not load SciPy.
"""
