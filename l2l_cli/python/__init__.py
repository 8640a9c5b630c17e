"""The commands as functions, which ``import l2l_cli as l2l`` provides."""
