"""The public page."""

from django.shortcuts import render

from .models import Book


def shelf(request):
    """Every book, for everybody."""
    return render(request, "books/shelf.html", {"books": Book.objects.all()})
