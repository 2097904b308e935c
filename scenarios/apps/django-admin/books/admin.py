"""The books in the administration."""

from django.contrib import admin

from .models import Book


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    """List, search and edit books."""

    list_display = ["title", "author", "price"]
    search_fields = ["title", "author"]
