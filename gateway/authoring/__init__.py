"""Writing a policy, as pure functions: what a set-up page edits as values, and the file's text that comes of it.

form      the form: names and texts, out of a policy's text and into it
patch     a TOML text that says something else, with everything that needn't change byte for byte
place     beside which of the form's names a finding is shown
steps     the steps of setting up an app, for each grant
start     the text that a new policy starts from
openapi   the same, from an API's own description
words     what an allowed-URL entry covers, as a value
suggest   entries that would cover a URL
"""
