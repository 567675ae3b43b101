"""Setting up an app: one page with the steps of its grant, one form, nothing written before somebody saves.

sheet      what the form holds: the policy's values, the page's own inputs, secrets that were typed
page       the page: steps and their state, faults beside their fields, what is still to be done
change     the form comes back: which of its buttons it was
edits      buttons that change the form: a row more, an example, a value picked from an answer
file       the app's file, as text
save       writing the file, and what stands against it
attempt    "Try it": the test call with the policy as it is on the page
preview    a request as it would leave
named      what a try's answer makes of a connection's name and identifier
allowed    what an allowed URL covers, and whether a URL would be allowed
new        from scratch, from a policy that comes with the gateway, from an API's own description
shipped    the policies that come with the gateway
keeping    a form whose session has ended: it is kept while its sender signs in again
"""
