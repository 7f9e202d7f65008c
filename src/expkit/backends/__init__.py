"""How optimizer steps are carried out."""
