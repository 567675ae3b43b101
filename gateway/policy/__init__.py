"""Policies: what an app is, where its credentials may go, and what is added to a request.

The map: `model` (of `kinds`) is the file as values; `load` reads a text and says each fault of it, with `structure` and
`checks`; `match` (of `entry` and `url`) decides if a target is allowed; `template`, `script`, `value` and `context`
compute values; `inject` renders what a policy adds and `merge` adds it; `fields` checks what a person typed.

Pure: no I/O, clock, randomness or logging in here.
"""
