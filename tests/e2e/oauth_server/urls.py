"""The provider's addresses: OAuth under /o/, signing in under /accounts/, its API, a test's wishes under /control/."""

import control
from django.contrib.auth.views import LoginView
from django.urls import include, path

urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("accounts/login/", LoginView.as_view(template_name="login.html")),
    path("api/me/", control.me),
    path("control/<str:action>/", control.control),
]
