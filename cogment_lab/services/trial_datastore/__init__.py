"""The trial datastore: keeps the samples of trials and hands them out, live and later."""
