"""How passwords are kept."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class FewRounds(PBKDF2PasswordHasher):
    """Django's own way with fewer rounds: this project's passwords live for some seconds only."""

    algorithm = "pbkdf2_sha256_few"
    iterations = 1_000
