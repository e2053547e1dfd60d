"""A host project that includes the app's URLs below a path."""

from django.urls import include, path

urlpatterns = [path("agents/", include("streaming.urls"))]
