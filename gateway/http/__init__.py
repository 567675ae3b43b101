"""HTTP as bytes and values, with no I/O: what a target is, what may be forwarded, and how a message is framed.

target    one clean http(s) URL, or a reason why it isn't one
fields    field names and what a proxy does with each (hop-by-hop, framing, ours, ordinary)
shape     what a head's field names come to, worked out once for each sequence of them
request   a request's head: read once, forwarded with our own framing
response  a response's head: read once, relayed with our own framing
upgrade   which protocols may be offered, and what a 101 has taken up
scrub     takes secrets out of what upstream sends back
"""
