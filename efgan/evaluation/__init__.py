"""How edits are judged: accuracy, picture quality, Action Units, identity."""
