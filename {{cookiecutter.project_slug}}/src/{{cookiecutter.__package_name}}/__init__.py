"""The service; `app.py` names its parts."""
