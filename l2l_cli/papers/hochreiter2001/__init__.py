"""Hochreiter, Younger and Conwell 2001: Tables 1 and 2, Figure 2.

Source: "Learning to Learn Using Gradient Descent", ICANN 2001, LNCS 2130, pages 87–94.
"""
