"""The admin API: what operators' programs call, under `/api/v1` of the web listener.

    routes     the one table of operations; everything else reads it
    dispatch   one request through its operation: sign-in, reading, validation, the handler, the answer
    models     what is sent and answered, as pydantic models; never a secret in an answer, but a new client's token once
    openapi    the OpenAPI 3.1 document, made from the table and the models
    apps, connections, clients, activity, links     the handlers, one room for each kind of thing
    granting   making and ending clients, as the pages and the command line do it too
    answers    JSON and RFC 9457 answers, request ids; shared with the pages
    token      the admin token

A handler is given a `Call` and returns an `Answer`; it raises `GatewayError` to refuse. No handler reads a request.
"""
