"""The site's URLs: the admin, and the agent at the root."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include("streaming.urls")),
]

handler400 = "streaming.api.errors.bad_request"
handler500 = "streaming.api.errors.server_error"
