"""The site's URLs: the admin, and the agent at the root."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from streaming import conf
from streaming.api.errors import not_found

admin.site.site_header = f"{conf.get().agent_name} administration"
admin.site.site_title = conf.get().agent_name
admin.site.index_title = "Organizations, conversations and runs"

urlpatterns = [
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include("streaming.urls")),
    re_path("", not_found, name="not-found"),  # JSON: most clients here use the API
]

handler400 = "streaming.api.errors.bad_request"
handler500 = "streaming.api.errors.server_error"
