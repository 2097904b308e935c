# {{ key }}: the process is replaced when the code of a module that it has loaded changes.
import importlib.machinery
import os
import signal
import sys
import threading
import time


def files():
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str):
            yield path[:-1] if path.endswith((".pyc", ".pyo")) else path


def is_code(path):
    """Code that cannot be read as such would only end in a process that does not serve."""
    if not path.endswith((".py", ".wsgi")):
        return True
    try:
        with open(path, "rb") as file:
            compile(file.read(), path, "exec")
    except OSError:
        return False
    except (SyntaxError, ValueError) as error:
        print(f"{path} has changed and is no code ({error}): what is loaded stays", file=sys.stderr)
        return False
    return True


known = {}


def remember_what_is_loaded(loader):
    """A file that changes right after it was loaded must not be taken for the one that was."""
    path_stats = loader.path_stats

    def remembering(self, path):
        stats = path_stats(self, path)
        known[path] = stats["mtime"]
        return stats

    loader.path_stats = remembering


def watch():
    while True:
        for path in list(files()):
            try:
                modified = os.stat(path).st_mtime
            except OSError:
                continue
            if known.setdefault(path, modified) != modified:
                known[path] = modified
                if is_code(path):
                    print(f"{path} has changed: the process is replaced", file=sys.stderr)
                    os.kill(os.getpid(), signal.SIGUSR1)
                    return
        time.sleep(0.2)


remember_what_is_loaded(importlib.machinery.SourceFileLoader)
threading.Thread(target=watch, name="reload: on-change", daemon=True).start()
