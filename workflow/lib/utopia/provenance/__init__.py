"""What made a file: job records, the code fingerprint and the ledger that reads them."""
