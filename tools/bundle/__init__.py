"""Which files of an application's folder `gcloud app deploy` uploads, and which it should not."""
