"""Whether a deployment would work: every file that it reads, held against what gcloud and App Engine enforce."""
