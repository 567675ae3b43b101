"""Replicas in trouble: three gateways on one PostgreSQL, a provider that forgives nothing, and whatever can go wrong.

    run        the whole: everything started, troubled, asked, judged
    link       a line between a replica and the database or the provider, which can be cut or go silent
    provider   strict rotation: a refresh token that comes twice ends its family; an API says whose token it saw
    replica    a gateway as a process, with a clock of its own (and, in the short run, all its times shortened)
    fleet      the replicas started, killed, started again; the database started anew
    load       requests for every connection through every replica, each answer's owner compared
    troubles   what goes wrong, when, and for whom
    verdict    what may fail in which trouble, and what may not; pure

`tests/chaos/test_chaos.py` is the short run, `benchmarks/chaos.py` the long one.
"""
