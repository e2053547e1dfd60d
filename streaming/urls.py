"""The agent's URLs."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
