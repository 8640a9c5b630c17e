"""The commands as functions: ``import l2l_cli as l2l`` offers them."""
