"""What a recording shows that a person can act on: evidence gathered from its spans, and rules over it.

docs/findings.md says of each rule when it fires, and what it does not see.
"""
