"""Policies from other people's lists of providers, as pure functions: what each file says, and what it comes to here.

data     a list as it was written: bounded, and without what makes YAML dangerous
names    names of fields and patterns, from names and patterns that others gave
draft    a policy that comes about, with what it lacks; what `gateway check` refuses is none
outcome  what came of each provider, and of all
nango    providers.yaml of the npm package @nangohq/providers
grant    oauth.json of the npm package grant
openapi  an API's own description
"""
