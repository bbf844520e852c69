"""The tour behind `indelible demo`: a small real application, a working day, and the answers.

`shop` is the application; `tour` starts it, drives it over HTTP and shows what the trail says.
"""
