# What py4web's scaffold reads over its settings.py. Public domain.
DB_URI = "datastore://?ids=time&buffer=request"
SESSION_SECRET_KEY = "7f6d3c1e-52a8-4b0e-9c4d-2f1b8a6e0d35"
VERIFY_EMAIL = False
