"""Names and bytes: what may be opened, what it is by its first bytes, outputs that appear whole or not at all, remote
files. No arrays; imports only the modules beside the packages.
"""
