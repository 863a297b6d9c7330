"""Contracts out of a server's typed events: an AsyncAPI document, a page to read, TypeScript types."""
