"""Policies: what an app is, where its credentials may go, and what is added to a request.

The map: `model` (of `kinds`) is the file as values; `load` reads a text and says each fault of it, with `structure` and
`checks`; `match` (of `entry` and `url`) decides if a target is allowed; `template`, `script`, `value` and `context`
compute values; `fields` checks what a person typed, and `found` what an answer said.

`inject` renders what a policy adds, an `injection` with its `header`s, and `merge` adds it. What is made for each
request alone is `anew`: of the `moment`, of the `request`, and what `sign` (with `aws4` and `oauth1`) makes of it.

Pure: no I/O, clock, randomness or logging in here.
"""
