"""Writing a policy, as pure functions: what a set-up page edits as values, and the file's text that comes of it.

form        the form: names and texts, out of a policy's text and into it; the rest of this paragraph is how
  names       the names that there are
  kinds       what kinds of values are as texts
  shown       what a file's data show
  posted      what was posted
  edited      the data with what was posted in them
patch       a TOML text that says something else, with everything that needn't change byte for byte
  statements  a text cut into headers and pairs
  spelling    how a value is written, and changes into another
place       beside which of the form's names a finding is shown
steps       the steps of setting up an app, for each grant
start       the text that a new policy starts from
openapi     the same, from an API's own description
  document    the description as it was given: bounded, and told apart from what it isn't
  events      YAML, put together without recursion
  servers     its servers
  schemes     its security schemes
words       what an allowed-URL entry covers, as a value
suggest     entries that would cover a URL
"""
