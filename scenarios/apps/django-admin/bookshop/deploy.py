"""What a deployment does once: create the tables and the first administrator."""

import fcntl

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command


def prepare_database():
    """Migrate, and make the administrator; one process at a time, the others find the work done."""
    with open(settings.BASE_DIR / "deploy.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        call_command("migrate", verbosity=0)
        users = get_user_model().objects
        if not users.filter(username="admin").exists():
            users.create_superuser("admin", "admin@example.com", "a long enough password")
