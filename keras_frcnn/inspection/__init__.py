"""Tools that inspect data sets, and how training and detection process them."""
