"""The gateway beside real proxies, on this machine, in one run. `python benchmarks --help`.

    command           the options, and what is done with the outcome
    bench             what every scenario stands on: a folder, an upstream, a pace
    scenarios/        one file for each idea: what is measured, against whom, and the goal
    rounds            A B C, A B C: samples of contenders in turn
    contenders        a proxy that runs, and the proof that it injects
    peers, peers/     the other proxies and their configurations
    install           gets those from PyPI and Debian
    gateway_under_test, fill
                      the gateway itself; a store with very many connections
    upstream, service, certificates
                      the service behind all of them
    wrk, tunnels, callers
                      the load: wrk, and what wrk can't do
    processes, proc, ports
                      programs started, pinned and ended; what the kernel says of them
    figures, goals    medians, spreads, ratios; pure
    pages             how soon each page is there, in Chromium, over a large store; by itself
    instructions  counts instructions of the pure parts by valgrind, for `make check`
    report, plot, document, machine
                      the table, the pictures, the page of the documentation

Rules: a contender that doesn't inject is not measured. What counts is CPU time from /proc, because it moves far less
than the clock when a machine has other work. Everything listens on 127.0.0.1, is bounded in number and time, and is
ended by its process handle.
"""
