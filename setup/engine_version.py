"""Prints the version that an engine for this Python is named by: `3.11`, or `3.13t` for a build without a GIL."""

import sys
import sysconfig

print("%d.%d%s" % (*sys.version_info[:2], "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""))
