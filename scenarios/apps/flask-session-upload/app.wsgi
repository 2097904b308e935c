"""The entry point that Apache loads: the application factory of the package beside this file."""

import os

from gallery import create_app

here = os.path.dirname(os.path.abspath(__file__))
application = create_app(
    uploads=os.path.join(here, "uploads"),
    key_file=os.path.join(here, "secret.key"),
)
