# {{ key }}, in one process for a debugger
import sys
{%- if let Some(home) = home %}
import os

os.chdir({{ home }})
{%- endif %}
{%- if let Some(script) = script %}
import types

# Not imported: the name of the file need not be one of a module, and nothing is left beside it.
module = types.ModuleType({{ name }})
module.__file__ = {{ script }}
sys.modules[module.__name__] = module
with open(module.__file__, "rb") as file:
    exec(compile(file.read(), module.__file__, "exec"), module.__dict__)
application = module.{{ callable }}
{%- else %}
import {{ module }}

application = {{ module }}.{{ callable }}
{%- endif %}

print({{ notice }}, file=sys.__stdout__, flush=True)
{%- if debugger %}

import pdb
import threading

# The console's own streams: frameworks send sys.stdout elsewhere.
debugger = pdb.Pdb(stdin=sys.__stdin__, stdout=sys.__stdout__)
debugged = application
{%- if at_start %}

# Loaded, but not serving yet: breakpoints can be set.
debugger.set_trace()
{%- endif %}


class Watch:
    """Breakpoints that were set at the start hold here, and an exception stops where it was raised."""

    console = threading.Lock()

    def __enter__(self):
        if debugger.get_all_breaks():
            debugger.botframe = sys._getframe(1)
            debugger.set_continue()
            sys.settrace(debugger.trace_dispatch)

    def __exit__(self, kind, error, traceback):
        sys.settrace(None)
        if isinstance(error, Exception):
            with self.console:
                print("%s: %s" % (kind.__name__, error), file=sys.__stdout__)
                debugger.reset()
                debugger.interaction(None, traceback)


class Answer:
    """What an application returned: its parts may fail to come, and its end may fail."""

    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        with Watch():
            yield from self.parts

    def close(self):
        if hasattr(self.parts, "close"):
            with Watch():
                self.parts.close()


def application(environ, start_response):
    with Watch():
        return Answer(debugged(environ, start_response))
{%- endif %}
