import logging


class LogHandler(logging.Handler):
    """Writes to Apache's error log at the matching level, a record per line; with WSGILogFormat json, an object."""

    def emit(self, record):
        number = record.levelno
        level = 2 if number >= 50 else 3 if number >= 40 else 4 if number >= 30 else 6 if number >= 20 else 7
        if not _logs(level):
            return
        try:
            if _json():
                format_exception = (self.formatter or logging.Formatter()).formatException
                exception = format_exception(record.exc_info) if record.exc_info else record.exc_text or ""
                _log_json(level, record.getMessage(), record.pathname, record.lineno, record.name, exception)
                return
            for line in self.format(record).splitlines() or [""]:
                _log(level, line, record.pathname, record.lineno)
        except Exception:
            self.handleError(record)
