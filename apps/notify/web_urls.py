"""The development mailbox."""

from django.urls import path

from apps.notify import views

urlpatterns = [
    path("dev/mail", views.mailbox, name="dev_mailbox"),
    path("dev/mail/<uuid:mail_id>", views.mail, name="dev_mail"),
    path("dev/mail/<uuid:mail_id>/html", views.mail_html, name="dev_mail_html"),
]
