"""The sticky proxy: one address for several nodes, and each session with the node that holds it.

Rule: which node a session is with is read from its sid, so there is no table to lose. A
connection for a node of this machine is handed over whole and is the proxy's no more; every
other one is relayed.
"""
