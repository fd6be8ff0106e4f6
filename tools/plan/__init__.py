"""What a deployment would do: gcloud's own deploy, run against a stand-in for Google's APIs on this machine."""
