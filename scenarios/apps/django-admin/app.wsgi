"""The entry point that Apache loads."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "bookshop.settings"

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from bookshop.deploy import prepare_database

prepare_database()
