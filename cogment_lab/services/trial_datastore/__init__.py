"""The trial datastore: keeps the samples of trials and hands them out, live and later."""

from cogment_lab.services.trial_datastore.datastore import TrialDatastore
from cogment_lab.services.trial_datastore.settings import TrialDatastoreSettings

__all__ = ["TrialDatastore", "TrialDatastoreSettings"]
