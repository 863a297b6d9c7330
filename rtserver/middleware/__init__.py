"""Middleware for production: one file (or package) each, on the hooks that everybody has.

Rule: independent of one another, and nothing below imports them.
"""
