"""The bundled application: one package for each domain, on the public API only.

Rule: domains never import one another; what they need is handed to ``register``.
"""
