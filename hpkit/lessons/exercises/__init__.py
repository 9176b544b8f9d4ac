"""The checks behind the exercises, a module a chapter, each with its `EXERCISES`.

A check takes an answer and gives "" if it is right, else a hint that fits the mistake.
"""
