# {{ key }}, in one process for a debugger
import bdb
import pdb
import sys
import threading

# What the application itself calls to stop (`breakpoint()`, `pdb.set_trace()`) uses the console too, and `q` ends the request.
console = threading.RLock()


class Console(pdb.Pdb):
    """A debugger on the console's own streams (frameworks send sys.stdout elsewhere), of which one at a time has the prompt."""

    def __init__(self, *arguments, **options):
        options.update(stdin=sys.__stdin__, stdout=sys.__stdout__)
        super().__init__(*arguments, **options)

    def interaction(self, *arguments):
        with console:
            return super().interaction(*arguments)


pdb.Pdb = Console
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


def ended(start_response):
    """`q` at a prompt: the request ends here, and the next one is served."""
    print("the request was ended at the prompt", file=sys.__stdout__, flush=True)
    try:
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
    except bdb.BdbQuit:
        # A part of the answer has been sent already, which cannot be taken back.
        return []
    return [b"ended at the prompt of the debugger\n"]

{%- if debugger %}

debugger = Console()
{%- endif %}
debugged = application
{%- if at_start %}

# Loaded, but not serving yet: breakpoints can be set.
debugger.set_trace()
{%- endif %}


class Watch:
    """Breakpoints that were set at the start hold here, and an exception stops where it was raised."""

    def __enter__(self):
{%- if debugger %}
        if debugger.get_all_breaks():
            debugger.botframe = sys._getframe(1)
            debugger.set_continue()
            sys.settrace(debugger.trace_dispatch)
{%- else %}
        pass
{%- endif %}

    def __exit__(self, kind, error, traceback):
        sys.settrace(None)
{%- if debugger %}
        if isinstance(error, Exception) and not isinstance(error, bdb.BdbQuit):
            with console:
                print("%s: %s" % (kind.__name__, error), file=sys.__stdout__)
                debugger.reset()
                debugger.interaction(None, traceback)
{%- endif %}


class Answer:
    """What an application returned: its parts may fail to come, and its end may fail."""

    def __init__(self, parts, start_response):
        self.parts = parts
        self.start_response = start_response

    def __iter__(self):
        try:
            with Watch():
                yield from self.parts
        except bdb.BdbQuit:
            yield from ended(self.start_response)

    def close(self):
        if hasattr(self.parts, "close"):
            try:
                with Watch():
                    self.parts.close()
            except bdb.BdbQuit:
                pass


def application(environ, start_response):
    try:
        with Watch():
            return Answer(debugged(environ, start_response), start_response)
    except bdb.BdbQuit:
        return ended(start_response)
