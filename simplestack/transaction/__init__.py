"""SIP behaviour without input or output: transactions, dialogs, failure, location."""
