"""KEPT: entries, tree, index and positions of a trail, in one file.

`indelible.store.protocol` says what a store promises; `indelible.store.sqlite` keeps it.
"""
