"""The README and the pages of docs/ are true: commands and Python run, options, links, codes and names exist."""
