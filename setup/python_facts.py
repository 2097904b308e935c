"""Says whether this Python can carry the engine: prints one missing part per line, nothing when all is there.

A Python that no package can mend (too old, built without a shared library) is refused with the reason on standard
error and exit status 3.
"""

import glob
import importlib.util
import os
import sys
import sysconfig

if sys.version_info < (3, 11):
    sys.stderr.write(
        "setup: %s is Python %d.%d; the engine needs 3.11 or newer (choose one with PYTHON=/path/to/python3)\n"
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )
    sys.exit(3)

if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
    sys.stderr.write(
        "setup: %s was built without a shared libpython, which a module of Apache needs: build it with"
        " --enable-shared, or choose another one with PYTHON=/path/to/python3\n" % sys.executable
    )
    sys.exit(3)

include = sysconfig.get_config_var("INCLUDEPY") or ""
library = sysconfig.get_config_var("LDLIBRARY") or ""
folders = [sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("LIBPL") or ""]
if not os.path.exists(os.path.join(include, "Python.h")) or not any(
    glob.glob(os.path.join(folder, library)) for folder in folders
):
    print("python-headers")

if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
    print("venv")
