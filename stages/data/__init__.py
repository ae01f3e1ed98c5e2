"""Pictures from a folder or a sample to one array: finding, decoding, splitting, auditing."""
